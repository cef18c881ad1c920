"""Line charts in terminals: width, colours, encodings."""

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cnnviz.view.chart import Line, Panel
from cnnviz.view.terminal_chart import LineChart

VALUES = st.lists(st.none() | st.floats(0, 5), min_size=1, max_size=30)


def shown(panel, width=80, *, encoding="utf-8", **options):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=stream, width=width, **options)
    console.print(LineChart(panel, width), crop=False)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def panel(*values):
    lines = tuple(Line(f"{i} line", tuple(one), i) for i, one in enumerate(values))
    return Panel("title", "pixels", tuple(range(1, len(values[0]) + 1)), lines)


@example([5e-324], 80, "utf-8")
@given(VALUES, st.integers(1, 130), st.sampled_from(["utf-8", "ascii"]))
def test_it_fits_its_width(values, width, encoding):
    text = shown(panel(values, values[::-1]), width, encoding=encoding)
    for line in text.splitlines():
        assert cell_len(line) <= max(width, 9), line
        if encoding == "ascii":
            assert line.isascii()


def test_xs_are_written_as_they_are():
    xs = tuple(25 * step / 8 for step in range(1, 9))
    text = shown(Panel("turned", "degrees", xs, (Line("a", xs, 0),)), 120)
    axis = next(line for line in text.splitlines() if "3.125" in line)
    assert axis.split() == [f"{x:g}" for x in xs]


def test_each_line_has_a_letter_at_its_values():
    text = shown(panel([0, 1, 2, 3], [3, None, None, 3.5]))
    plot = [line.partition("│")[2] for line in text.splitlines() if "│" in line]
    assert sum(line.count("a") for line in plot) == 4
    assert sum(line.count("b") for line in plot) == 2
    assert plot[-1][0] == "a"  # 0 is on the ground, at the left
    rows = [next(i for i, line in enumerate(plot) if "a" in line[at:]) for at in (0, 60)]
    assert rows[0] <= rows[1]
    assert "a 0 line  b 1 line" in text


def test_colours_only_where_they_are_wanted(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = shown(panel([1, 2], [2, 1]), force_terminal=True, color_system="256")
    assert "\x1b[36m" in coloured
    assert "\x1b" not in shown(panel([1, 2], [2, 1]))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(panel([1, 2], [2, 1]), force_terminal=True)


@pytest.mark.parametrize("values", [[0.0], [None], [0.0, 0.0], [None, 1.0]])
def test_next_to_nothing(values):
    assert "a 0 line" in shown(panel(values))


def test_labels_cannot_steer_the_terminal():
    line = Line("evil\x1b[31m\n[bold]x", (1.0, 2.0), 0)
    text = shown(Panel("t\x07", "x\x1b[2J", (1, 2), (line,)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]x" in text
