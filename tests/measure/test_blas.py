from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from threadpoolctl import threadpool_info

from trajscope.measure.blas import blas_threads, one_blas_thread


def threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_the_limit_lasts_until_the_last_task_is_done_and_is_then_lifted():
    both_in, first_done = Barrier(2, timeout=20), Barrier(2, timeout=20)

    def first_to_begin():
        with one_blas_thread():
            both_in.wait()
        first_done.wait()

    def last_to_end():
        with one_blas_thread():
            both_in.wait()
            first_done.wait()
            return threads()

    before = threads()
    with ThreadPoolExecutor(2) as pool:
        first, last = pool.submit(first_to_begin), pool.submit(last_to_end)
        assert set(last.result()) == {1}
        first.result()
    assert threads() == before


def test_the_number_of_threads_is_taken_back():
    with blas_threads(2):
        before = threads()
        with blas_threads(1):
            assert set(threads()) == {1}
        assert threads() == before
