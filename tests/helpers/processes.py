"""Other processes, which take as many CPU devices as a test asks for."""

import os
import pathlib
import subprocess
import sys

from tests.helpers.flags import known

ROOT = pathlib.Path(__file__).parents[2]

UNREADABLE = "ignore:Error reading persistent compilation cache entry"
"""A filter of warnings: JAX compiles what another process has not yet written whole."""


def start(module, *arguments, devices=1):
    """`python -m module ...` in a process of its own."""
    flags = known(
        f"--xla_force_host_platform_device_count={devices}",
        # On a busy machine one of many devices may be long in coming.
        "--xla_cpu_collective_call_terminate_timeout_seconds=300",
    )
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outputs(*processes, timeout=500):
    """What they print, once all have ended well."""
    try:
        texts = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, texts, strict=True):
        assert process.returncode == 0, errors
    return [printed for printed, _ in texts]
