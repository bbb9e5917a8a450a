"""XLA's flags. A jaxlib that does not know one ends the process, so it is asked first."""

import functools
import os
import subprocess
import sys

FAST_COMPILATION = (
    # Of XLA's two emitters of loops, the older one compiles twice as fast. Newer versions
    # have only the other.
    "--xla_cpu_use_fusion_emitters=false",
    # Parts of a program that are compiled apart cost more than the whole, if it is small.
    "--xla_cpu_parallel_codegen_split_count=1",
)


@functools.cache
def is_known(flag: str) -> bool:
    """Whether the installed jaxlib takes a flag, or several, tried in another process."""
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
    added = [flag for flag in flags if flag not in given]
    if added and not is_known(" ".join(added)):
        added = list(filter(is_known, added))
    return " ".join([*given, *added])
