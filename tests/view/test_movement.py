"""Tables and charts of shift experiments."""

import csv
import io
import re

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from cnnviz.core.shift import Movement, rotation_errors, shift_errors
from cnnviz.files.spec import parse
from cnnviz.view import movement as view
from cnnviz.view.chart import MOST_LINES
from tests.oracles import noise

X = noise(0, 1, 24, 36)
A = shift_errors(parse("conv(2, 3, padding=same) -> relu -> maxpool(2) -> flatten"), X, 9)
B = shift_errors(parse("conv(2, 3, padding=same) -> relu -> avgpool(2)"), X, 9)
ONE, TWO = {"": A}, {"A": A, "B": B}


def printed(told, width=None, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=stream, width=width or 80, force_terminal=width is not None)
    for part in view.error_report(told, {}, "title", {}).parts[1:-2]:
        console.print(part, crop=False)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("told", [ONE, TWO])
@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
def test_tables_fit_a_terminal(told, width):
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(told, width))
    assert max(map(cell_len, text.splitlines())) <= width
    for word in ("0.", "relu1", "Invariance", "Equivariance"):
        assert word in text


def test_tables_hold_the_errors():
    text = printed(ONE)
    for stage in A.stages:
        for place in (0, 1, 3, 7, 8):
            for errors in (stage.invariance, stage.equivariance):
                assert view.format_error(errors[place]) in text
    assert "9" in text.splitlines()[1].split()  # the last amount is shown always
    assert printed(ONE, encoding="ascii").isascii()


def test_csv_holds_every_number():
    rows = list(csv.DictReader(io.StringIO(view.error_report(TWO, {}, "", {}).csv())))
    assert len(rows) == 9 * (len(A.stages) + len(B.stages))
    for row in rows:
        errors = {"A": A, "B": B}[row["pipeline"]]
        stage = errors.stages[int(row["index"])]
        assert row["name"] == stage.name
        place = int(row["shift"]) - 1
        for key in ("invariance", "equivariance"):
            value = getattr(stage, key)[place]
            assert row[key] == ("" if value is None else repr(value))
    assert "pipeline" not in view.error_report(ONE, {}, "", {}).csv().splitlines()[0]
    turned = rotation_errors(parse("relu"), X, 12)
    assert ",degrees," in view.error_report({"": turned}, {}, "", {}).csv()
    assert ",1.5," in view.error_report({"": turned}, {}, "", {}).csv()


def test_markdown_has_two_tables_of_equal_rows():
    text = view.error_report(TWO, {}, "", {}).markdown()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (2 + len(A.stages) + len(B.stages))
    assert len({line.count("|") for line in rows}) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 31, 32, 100, 500])
def test_amounts_shown(count):
    places = view.by_weight(Movement(tuple(range(1, count + 1)), "x", "crop"))
    assert sorted(places) == list(range(count))
    assert {0, count - 1} <= set(places[:7])
    assert {place for place in (1, 3, 7) if place < count} <= set(places[:7])


def heads(text):
    return [line.split() for line in text.splitlines() if line.lstrip().startswith("#")]


def plain(told, width=None, encoding="utf-8"):
    return re.sub(r"\x1b\[[0-9;]*m", "", printed(told, width, encoding))


LONG = shift_errors(parse("conv(2, 3, padding=same) -> maxpool(2)"), X, 30)


def test_as_many_amounts_as_have_room():
    for text in (plain({"": LONG}), plain({"": LONG}, 400)):  # a pipe, a wide terminal
        assert [head[4:] for head in heads(text)] == [[str(at) for at in range(1, 31)]] * 2
        assert "…" not in text
    text = view.error_report({"": LONG}, {}, "", {}).markdown()
    assert "29 |     30 |" in text
    counts = [len(heads(plain({"": LONG}, width))[0]) for width in (60, 80, 100, 120, 160)]
    assert counts == sorted(set(counts))
    for width in (80, 120):
        text = plain({"": LONG}, width)
        wide = max(map(cell_len, text.splitlines()[2:3]))
        assert width - 9 < wide <= width  # another column of errors had no room
        assert heads(text)[0][-1] == "30"
        assert "… a wider terminal, --format csv or json, shows: " in " ".join(text.split())


def test_columns_that_give_way_are_named():
    for width, gone in ((70, "output"), (60, "output, stride")):
        text = plain(ONE, width)
        assert f"shows: {gone}" in " ".join(text.split())
        assert not {word.capitalize() for word in gone.split(", ")} & set(heads(text)[0])
    assert "a wider terminal" not in plain(ONE, 120)
    assert plain({"": LONG}, 60, "ascii").isascii()


def test_the_least_width_keeps_an_amount():
    assert heads(plain({"": LONG}, 24))[0][-1] in ("1", "30")


def test_what_two_pipelines_have_in_common_is_drawn_once():
    invariance, equivariance = view.charts(TWO)
    labels = [line.label for line in invariance.lines]
    assert labels == [
        "input", "A, B: 1 conv1", "A, B: 2 relu1", "A: 3 maxpool1", "A: 4 flatten1", "B: 3 avgpool1"
    ]  # fmt: skip
    assert [line.dashed for line in invariance.lines] == [False] * 5 + [True]
    assert len({line.style for line in invariance.lines}) == 6
    assert invariance.lines[3].values == A.stages[3].invariance
    moved = {line.label: line.values for line in equivariance.lines}
    assert moved["A: 3 maxpool1"] == A.stages[3].equivariance
    assert {line.style for line in equivariance.lines} <= {line.style for line in invariance.lines}


def test_what_is_zero_throughout_is_said_in_words_and_not_drawn():
    moves_along = {"": shift_errors(parse("conv(2) -> relu -> maxpool(2)"), X, 4)}
    (panel,) = view.charts(moves_along)
    assert panel.title.startswith("Invariance")
    (sentence,) = view.flat(moves_along)
    names = "input; 1 conv1; 2 relu1; 3 maxpool1"
    assert sentence == f"Equivariance error 0 throughout, so not drawn: {names}"
    padded = {"": shift_errors(parse("conv(2, padding=same) -> flatten"), X, 4)}
    assert [line.label for line in view.charts(padded)[1].lines] == ["1 conv1"]
    assert view.flat(padded) == ["Equivariance error 0 throughout, so not drawn: input"]
    still = {"": shift_errors(parse("relu"), np.ones((1, 8, 8), np.float32), 2)}
    assert len(view.charts(still)) == 2  # something is drawn in any case
    assert np.asarray(view.draw_errors(still, {"": "relu"}, "x")).shape[2] == 3
    assert "Invariance error 0 throughout" in printed_whole(still)
    assert "Equivariance error 0" not in printed_whole(moves_along)  # its chart is not there


def printed_whole(told):
    console = Console(file=io.StringIO(), width=120)
    for part in view.error_report(told, {}, "title", {}).parts:
        console.print(part)
    return console.file.getvalue()


def test_of_many_stages_the_telling_ones_are_drawn():
    text = " -> ".join(["relu", "abs"] * 9 + ["maxpool(2)"] + ["relu"] * 5)
    told = {"": shift_errors(parse(text), X, 2)}
    lines = view.charts(told)[0].lines
    assert len(lines) == MOST_LINES
    labels = [line.label for line in lines]
    assert labels[0] == "input"
    assert "19 maxpool1" in labels
    assert labels[-1] == "24 relu14"
    image = view.draw_errors(told, {"": text}, "x")
    assert np.asarray(image).shape[2] == 3
    both = {"A": told[""], "B": shift_errors(parse(text.replace("max", "avg")), X, 2)}
    assert len(view.charts(both)[0].lines) <= MOST_LINES
    assert view.not_drawn(told) == ["17 more stages are not drawn; shift.json has them all"]
    assert view.not_drawn(ONE) == []
    nine = {"": shift_errors(parse(" -> ".join(["relu"] * MOST_LINES)), X, 1)}
    assert view.not_drawn(nine) == ["1 more stage is not drawn; shift.json has it"]
