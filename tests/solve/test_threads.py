"""Work on several threads: all of it, in order, with products by one thread each."""

import importlib.util
import threading

import pytest

from jaxreg.solve.threads import on_threads


def test_results_come_in_the_order_of_the_items():
    assert on_threads(lambda n: n**2, range(20)) == [n**2 for n in range(20)]


def test_errors_are_raised():
    with pytest.raises(ZeroDivisionError):
        on_threads(lambda n: 1 // n, range(3))


def test_products_take_one_thread_each_meanwhile():
    if importlib.util.find_spec("threadpoolctl") is None:
        pytest.skip("threadpoolctl is not installed")
    from threadpoolctl import threadpool_info

    def counts(*_):
        info = threadpool_info()
        return [each["num_threads"] for each in info if each["user_api"] == "blas"]

    before = counts()
    barrier = threading.Barrier(2)
    inside = on_threads(lambda n: (barrier.wait(60), counts())[1], range(2))
    assert inside == [[1] * len(before)] * 2
    assert counts() == before
