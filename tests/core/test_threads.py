"""Sharing work: everything once, errors raised, BLAS given back, processors left alone."""

import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.core.threads import (
    available_threads,
    blas_control,
    cut,
    set_threads,
    share,
    single_threaded_blas,
    split,
    thread_count,
)
from cnnviz.errors import RequestError


@given(st.integers(0, 40), st.integers(1, 5))
def test_each_item_is_worked_off_once(count, workers):
    done = []
    share(range(count), lambda: done.append, workers)
    assert sorted(done) == list(range(count))


def test_each_thread_makes_its_own_worker_and_works():
    made, who = [], set()

    def make_worker():
        made.append(threading.get_ident())

        def work(_):
            who.add(threading.get_ident())
            time.sleep(0.01)

        return work

    share(range(8), make_worker, 3)
    assert len(set(made)) == len(made) == 3
    assert who == set(made)
    assert threading.get_ident() in who


def test_one_thread_is_the_callers():
    who = []
    share(range(3), lambda: lambda _: who.append(threading.get_ident()), 1)
    assert set(who) == {threading.get_ident()}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_first_error_ends_it_and_later_calls_work(workers):
    begun = []

    def work(item):
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        time.sleep(0.002)

    with pytest.raises(ValueError, match="two"):
        share(range(200), lambda: work, workers)
    assert len(begun) < 200
    done = []
    share(range(9), lambda: done.append, workers)
    assert sorted(done) == list(range(9))


def test_an_error_in_another_thread_is_the_callers():
    here = threading.get_ident()

    def work(_):
        if threading.get_ident() != here:
            raise KeyError("elsewhere")
        time.sleep(0.01)

    with pytest.raises(KeyError, match="elsewhere"):
        share(range(20), lambda: work, 2)


def test_errstate_holds_in_all_threads():
    ones, zeros = np.ones(1000), np.zeros(1000)
    with np.errstate(all="ignore"):  # a warning would be an error here
        share(range(40), lambda: lambda _: (ones / zeros, time.sleep(0.001)), 4)


def test_callers_in_several_threads_do_not_wait_for_each_other():
    done = []

    def call():
        share(range(50), lambda: done.append, 3)

    callers = [threading.Thread(target=call) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(done) == sorted([*range(50)] * 5)


def test_share_inside_share():
    done = []
    share(range(3), lambda: lambda _: share(range(4), lambda: done.append, 2), 2)
    assert sorted(done) == sorted([*range(4)] * 3)


@pytest.mark.parametrize("started", [0, 1])
def test_where_no_thread_can_be_started_the_others_do_it_all(monkeypatch, started):
    share(range(9), lambda: lambda _: time.sleep(0.001), started + 1)
    start, left, done = threading.Thread.start, [started], []

    def refuse(thread):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(20):
        done.clear()
        share(range(40), lambda: lambda item: (time.sleep(0.0001), done.append(item)), 8)
        assert sorted(done) == [*range(40)]  # all of it, when the call has ended


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no such call")
def test_threads_stay_on_the_processors_they_had():
    before, during = os.sched_getaffinity(0), []
    share(range(10), lambda: lambda _: during.append(os.sched_getaffinity(0)), 3)
    assert during == [before] * 10
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_works_as_well():
    share(range(4), lambda: lambda _: None, 3)
    child = os.fork()
    if not child:
        done = []
        share(range(6), lambda: done.append, 3)
        os._exit(0 if sorted(done) == list(range(6)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_blas_is_held_to_one_thread_and_given_back():
    control = blas_control()
    if control is None:
        pytest.skip("NumPy's BLAS has no such setting")
    get, put = control
    before = get()
    put(2)
    try:
        with single_threaded_blas():
            assert get() == 1
            with single_threaded_blas():
                assert get() == 1
            assert get() == 1
        assert get() == 2
        with pytest.raises(ValueError, match="x"), single_threaded_blas():
            raise ValueError("x")
        assert get() == 2
    finally:
        put(before)


@pytest.mark.parametrize("count", [0, -1, "2", 1.5])
def test_no_such_number_of_threads(count):
    with pytest.raises(RequestError, match="the number of threads"):
        set_threads(count)


def test_the_limit_holds_until_it_is_lifted():
    try:
        set_threads(7)
        assert thread_count() == 7
    finally:
        set_threads(None)
    assert thread_count() == available_threads() >= 1


@given(st.integers(1, 60), st.integers(0, 99), st.integers(1, 500), st.integers(1, 5))
def test_bands_tile_the_rows(rows, row_bytes, band_bytes, threads):
    spans = cut(rows, row_bytes, band_bytes, threads)
    assert [row for first, stop in spans for row in range(first, stop)] == list(range(rows))
    assert all((stop - first) * row_bytes <= max(band_bytes, row_bytes) for first, stop in spans)
    assert len(spans) >= min(threads, rows) / 2  # rows that do not divide evenly leave one over


@given(st.integers(1, 90), st.integers(1, 99), st.integers(1, 9))
def test_pieces_are_nearly_equal(total, most, least):
    spans = split(total, most, least)
    assert [row for first, stop in spans for row in range(first, stop)] == list(range(total))
    sizes = [stop - first for first, stop in spans]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(spans) >= min(least, total)
