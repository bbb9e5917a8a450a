"""A measurement in a process of its own, which is stopped when it takes too long."""

import multiprocessing
import queue
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Limited(NamedTuple):
    """What a call returned, and what it took.

    Attributes:
        result: What it returned; `None` if it was stopped.
        seconds: Of the processor.
    """

    result: Any
    seconds: float


def limited(limit: float, call: Callable[..., Any], *arguments: Any) -> Limited:
    """Call a function of a module, in a new process, for at most so many seconds.

    Args:
        limit: Elapsed seconds.
        call: The function; it imports what it needs, and that counts too.
        *arguments: What it takes.

    Returns:
        A `Limited`. Of what was stopped, the seconds are the limit.
    """
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_answer, args=(answers, call, arguments))
    process.start()
    end = time.monotonic() + limit
    try:
        while True:
            try:
                return Limited(*answers.get(timeout=1.0))
            except queue.Empty:
                if time.monotonic() > end:
                    return Limited(None, limit)
                if process.exitcode:
                    raise RuntimeError(f"{call.__name__} has failed.") from None
    finally:
        process.kill()
        process.join()


def _answer(answers: Any, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    start = time.process_time()
    answers.put((call(*arguments), time.process_time() - start))
