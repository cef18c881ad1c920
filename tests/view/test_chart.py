"""Line charts: where things are drawn, and that lines can be told apart."""

import io
import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cnnviz.view import chart
from cnnviz.view.chart import MOST_LINES, Line, LineChart, Panel, draw_chart, ticks


@given(st.floats(1e-200, 1e200), st.integers(3, 12))
def test_ticks_are_round_few_and_reach_the_largest(largest, most):
    found = ticks(largest, most=most)
    assert ticks(-largest, most=most) == [-tick or 0.0 for tick in reversed(found)]
    step = found[1]
    assert found[0] == 0
    assert 2 <= len(found) <= most + 1
    assert found[-1] >= largest * (1 - 1e-6)
    assert found[-2] < largest
    digit = step / 10 ** math.floor(math.log10(step * (1 + 1e-9)))
    assert min(abs(digit - round_one) for round_one in (1, 2, 5)) < 1e-3


@pytest.mark.parametrize("largest", [0, -1e-310, math.nan, 5e-324, 1e-310])
def test_ticks_of_nothing(largest):
    assert ticks(largest) == [0.0, 0.5, 1.0]


@given(st.floats(-1e100, 0), st.floats(0, 1e100), st.integers(3, 12))
def test_ticks_reach_both_ends(low, high, most):
    assume(high - low > 1e-290)
    found = ticks(high, low, most=most)
    assert 0 in found
    assert len(found) <= most + 1
    assert found[0] <= low * (1 - 1e-6) + 1e-6 * (high - low)
    assert found[-1] >= high * (1 - 1e-6) - 1e-6 * (high - low)


def test_values_below_0_are_drawn_within_the_plot():
    one = panel((-3.0, 1.0, -0.5))
    (line,) = one.lines
    places = [down for _, _, down in one.points(line, ticks(*one.ends))]
    assert places == pytest.approx([1, 0, 0.375])


def panel(*values, title="t"):
    lines = tuple(Line(f"line {style}", one, style) for style, one in enumerate(values))
    return Panel(title, "x", tuple(range(1, len(values[0]) + 1)), lines)


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def near(image, colour, away=60):
    """Rows and columns of the pixels about as coloured as a line."""
    return np.argwhere(np.abs(pixels(image) - colour).sum(-1) < away)


def test_a_rising_line_rises():
    image = draw_chart([panel((0.1, 0.5, 0.9), (0.9, 0.5, 0.1))], title="t")
    rising = near(image, chart.COLOURS[1])
    rising = rising[rising[:, 0] < rising[:, 0].max() - 60]  # without the legend
    left, right = rising[rising[:, 1].argmin()], rising[rising[:, 1].argmax()]
    assert right[0] > left[0] + 100  # y is down: the second line falls


def test_colours_and_marks_are_all_different():
    colours, marks = chart.COLOURS, chart.MARKS
    assert len(set(colours)) == len(set(marks)) == len(colours) == len(marks) == MOST_LINES
    for index, one in enumerate(colours):
        for other in colours[:index]:
            assert math.dist(one, other) > 50
    for colour in colours:  # 3 : 1 against white, as WCAG 2 asks of graphics
        linear = (np.array(colour) / 255) ** 2.2 @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (linear + 0.05) > 2.4


def test_lines_are_thin_across_gaps_and_marked_where_they_have_values():
    whole = draw_chart([panel((0.5, 0.5, 0.5, 0.5, 0.5))], title="t")
    gaps = draw_chart([panel((0.5, None, None, None, 0.5))], title="t")
    none = draw_chart([panel((None,) * 5)], title="t")
    counts = [len(near(image, chart.COLOURS[0], 90)) for image in (whole, gaps, none)]
    assert counts[0] > counts[1] > counts[2]


def test_panels_share_one_scale():
    one = draw_chart([panel((0.0, 1e-8)), panel((0.0, 1.0))], title="t")
    alone = draw_chart([panel((0.0, 1e-8))], title="t")
    left = pixels(one)[:, : alone.width // 2]
    assert (near(alone, chart.COLOURS[0])[:, 0].min()) < 200  # reaches the top of its own scale
    inside = left[110:340, 90:]
    assert np.abs(inside - chart.COLOURS[0]).sum(-1).min() > 100  # stays on the ground here


@given(st.text(max_size=80), st.integers(1, MOST_LINES))
def test_any_label_can_be_drawn(text, count):
    lines = tuple(Line(text, (1.0,), style, style % 2 == 1) for style in range(count))
    draw_chart([Panel(text, text, (1,), lines)], title=text, notes=[text])


def test_the_same_chart_gives_the_same_pixels():
    made = [draw_chart([panel((0.1, None, 0.3), (1, 2, 3))], title="t") for _ in range(2)]
    assert made[0].tobytes() == made[1].tobytes()


# --- in a terminal

VALUES = st.lists(st.none() | st.floats(0, 5), min_size=1, max_size=30)


def shown(panel, width=80, *, encoding="utf-8", **options):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=stream, width=width, **options)
    console.print(LineChart(panel, width), crop=False)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


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
    assert "a line 0  b line 1" in text


def test_colours_only_where_they_are_wanted(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = shown(panel([1, 2], [2, 1]), force_terminal=True, color_system="256")
    assert "\x1b[36m" in coloured
    assert "\x1b" not in shown(panel([1, 2], [2, 1]))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(panel([1, 2], [2, 1]), force_terminal=True)


@pytest.mark.parametrize("values", [[0.0], [None], [0.0, 0.0], [None, 1.0]])
def test_next_to_nothing(values):
    assert "a line 0" in shown(panel(values))


def test_labels_cannot_steer_the_terminal():
    line = Line("evil\x1b[31m\n[bold]x", (1.0, 2.0), 0)
    text = shown(Panel("t\x07", "x\x1b[2J", (1, 2), (line,)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]x" in text
