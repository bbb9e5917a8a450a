"""A bar of what is done, if it is wanted."""

import contextlib
import numbers
import threading
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

Tick = Callable[[], None]
"""Says that one more of the total is done; threads may call it."""


def shows_bar(verbose: Any) -> bool:
    """Whether the `verbose` of an estimator asks for a bar, as scikit-learn has it.

    Args:
        verbose: A bool or a non-negative integer; `False` and 0 are silent.

    Raises:
        TypeError: If it is neither.
        ValueError: If it is negative.
    """
    is_number = isinstance(verbose, numbers.Integral | np.bool_)
    if is_number and int(verbose) >= 0:
        return bool(verbose)
    raise (ValueError if is_number else TypeError)(
        f"verbose must be True, False or a non-negative integer, got {verbose!r}."
    )


@contextlib.contextmanager
def progress_bar(show: Any, total: int | None, unit: str) -> Generator[Tick]:
    """A bar that each call of the yielded function moves by one.

    Args:
        show: Whether there is a bar, a bool.
        total: How many calls there will be, if it is known.
        unit: What is counted.

    Raises:
        TypeError: If `show` is no bool.
        ImportError: If there shall be a bar, and tqdm is missing.
    """
    if not isinstance(show, bool | np.bool_):
        raise TypeError(f"progress must be True or False, got {show!r}.")
    if not show:
        yield lambda: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "A bar, of `progress=True` or of an estimator's `verbose`, needs tqdm: "
            '`pip install "jaxreg[progress]"`.'
        ) from error
    lock = threading.Lock()
    with tqdm(total=total, unit=unit) as bar:

        def tick() -> None:
            with lock:
                made: Any = bar
                made.update()

        yield tick
