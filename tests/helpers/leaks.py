"""JAX's check for leaked tracers, at a price that a test can pay."""

import contextlib
import gc
from collections.abc import Generator

import jax


@contextlib.contextmanager
def checking_leaks() -> Generator[None]:
    """As `jax.checking_leaks`, without a look at what was there before.

    JAX collects garbage at every trace: of all that is imported, which takes most of a
    second. Tracers that leak are made in the meantime.
    """
    gc.freeze()
    try:
        with jax.checking_leaks():
            yield
    finally:
        gc.unfreeze()
