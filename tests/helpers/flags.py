"""XLA's flags. A jaxlib that does not know one ends the process, so it is asked first."""

import functools
import os
import subprocess
import sys

# Of XLA's two emitters of loops, the older one compiles twice as fast. Newer versions have
# only the other.
FAST_COMPILATION = "--xla_cpu_use_fusion_emitters=false"


@functools.cache
def is_known(flag: str) -> bool:
    """Whether the installed jaxlib takes a flag, tried in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flag},
        capture_output=True,
        check=False,
    )
    return run.returncode == 0


def known(*flags: str) -> str:
    """The flags that the installed jaxlib takes, after those that are set already."""
    given = os.environ.get("XLA_FLAGS", "").split()
    return " ".join(
        [*given, *(flag for flag in flags if flag not in given and is_known(flag))]
    )
