"""Plans: the same for the same problem, printable, by the settings in force."""

import pytest

from cnnviz.core.engine import (
    ALGORITHMS,
    PRECISIONS,
    Correlation,
    choose,
    computing,
    correlate,
)
from cnnviz.core.window import Window
from cnnviz.errors import RequestError
from tests.oracles import noise


def test_plans_are_printable_repeatable_and_forced():
    problem = Correlation(noise(1, 1, 600, 800), noise(2, 1, 1, 3, 3), Window((3, 3)))
    plan = choose(ALGORITHMS, problem)
    assert plan == choose(ALGORITHMS, problem)
    assert plan.algorithm in str(plan)
    assert str(plan.threads) in str(plan)
    assert choose(ALGORITHMS, problem, algorithm="windows").algorithm == "windows"
    with pytest.raises(RequestError, match="unknown algorithm"):
        choose(ALGORITHMS, problem, algorithm="widows")
    with pytest.raises(RequestError, match="winograd2 cannot compute this"):
        choose(ALGORITHMS, problem, algorithm="winograd2")
    with pytest.raises(RequestError, match="precision"):
        choose(ALGORITHMS, problem, precision="exactly")
    assert choose(ALGORITHMS, problem).error <= PRECISIONS["exact"]


def test_small_work_stays_in_one_thread():
    tiny = Correlation(noise(1, 1, 8, 8), noise(2, 1, 1, 3, 3), Window((3, 3)))
    assert choose(ALGORITHMS, tiny).threads == 1


def test_settings_hold_for_the_block_only():
    x, weight, window = noise(1, 1, 9, 8), noise(2, 2, 1, 3, 3), Window((3, 3))
    with pytest.raises(RequestError), computing(precision="sloppy"):
        pass
    with computing(algorithm="winograd2"):  # cannot: planned as ever
        correlate(x, weight, window)
