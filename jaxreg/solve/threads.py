"""Work that keeps all cores busy, by Python's threads: NumPy lets others run meanwhile."""

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def on_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Results for all items, in their order."""
    # One thread more than cores: some of the work is done by one core only.
    count = (os.cpu_count() or 1) + 1
    with _one_thread_each(), concurrent.futures.ThreadPoolExecutor(count) as threads:
        return list(threads.map(function, items))


def _one_thread_each() -> contextlib.AbstractContextManager[Any]:
    """Products by one thread each, if threadpoolctl is installed, as by scikit-learn.

    Else those of one of our threads wait for those of another, which doubles the time.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return contextlib.nullcontext()
    return threadpool_limits(1, user_api="blas")
