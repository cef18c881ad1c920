"""--sort and --limit: which maps a grid shows, and that nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz.cli.pictures import ORDERS
from cnnviz.core.statistics import MEASURES
from cnnviz.view.sheet import Sheet
from tests.cli.conftest import Run, files_below, refused, sample

# Of -2 … 6 these make maps with variances as 1 : 9 : 4 : 9 : 0 and maxima of 6, 18, 4, 6 and 0.
FIVE = "conv('1', '3', '-2', '-3', '0')"


@pytest.fixture
def plane(work: Path) -> Path:
    path = work / "m.csv"
    path.write_text("-2,-1,0\n1,3,6\n")
    return path


def recorded(folder: str = "m") -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(f"cnnviz-out/{folder}/run.json").read_text())
    return record


def grid_channels(folder: str = "m") -> list[int] | None:
    channels: list[int] | None = recorded(folder)["stages"][0]["pictures"].get("grid_channels")
    return channels


def test_orders_are_those_that_are_measured() -> None:
    assert ORDERS.keys() == MEASURES.keys()


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ([], None),
        (["--sort", "none"], None),
        (["--limit", 5], None),
        (["--limit", 10**6], None),
        (["--limit", 2], [1, 3]),
        (["--limit", 2, "--sort", "none"], [0, 1]),
        (["--sort", "variance"], [1, 3, 2, 0, 4]),
        (["--sort", "variance", "--limit", 3], [1, 3, 2]),
        (["--sort", "max"], [1, 0, 3, 2, 4]),
        (["--sort", "max", "--limit", 1], [1]),
        (["--sort", "max", "--scale", "unit", "--limit", 4], [1, 0, 3, 2]),
    ],
)
def test_which_maps_a_grid_shows(
    run: Run, plane: Path, options: list[object], channels: list[int] | None
) -> None:
    result = run("pipeline", plane, FIVE, *options)
    assert result.code == 0
    assert grid_channels() == channels
    told = "in the grids" in result.err
    assert told == (channels is not None and len(channels) < 5)


def test_the_grid_and_the_note_say_what_is_shown(
    run: Run, plane: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Sheet, "text", lambda _, _x, _y, text, *_a, **_k: said.append(text))
    result = run("pipeline", plane, FIVE, "--sort", "variance", "--limit", 3)
    assert "in the grids, largest variance first: conv1 (3 of 5 maps)\n" in result.err
    header = " ".join(said)
    assert "3 of 5 maps, largest variance first; each 2 x 3" in header
    assert "all 5 maps share this scale, with values from -18 to 18" in header
    said.clear()
    whole = run("pipeline", plane, FIVE, "--sort", "max")
    assert "5 maps, largest maximum first; each 2 x 3" in " ".join(said)
    assert "in the grids" not in whole.err


def test_512_maps_of_which_16(run: Run) -> None:
    text = "conv(512, 1)"
    run("pipeline", sample("step.png"), text, "--sort", "variance", "--limit", 16)
    (stage,) = cnnviz.parse(text).run(cnnviz.load_pixels(str(sample("step.png"))))
    variances = stage.output.astype(np.float64).var(axis=(1, 2))
    expected = np.argsort(-variances, kind="stable")[:16].tolist()
    assert grid_channels("step") == expected
    range_of_all = recorded("step")["stages"][0]["pictures"]["value_ranges"]
    reach = float(np.abs(stage.output).max())
    assert range_of_all == [[-reach, reach]]


def test_only_the_grid_changes(run: Run, plane: Path) -> None:
    run("pipeline", plane, FIVE, "--save", "npy")
    before = files_below("cnnviz-out")
    run("pipeline", plane, FIVE, "--save", "npy", "--sort", "max", "--limit", 2)
    after = files_below("cnnviz-out")
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"m/01_conv_conv1_grid.png", "m/run.json"}


def test_two_runs_write_identical_bytes(run: Run) -> None:
    words = ["pipeline", sample("step.png"), "conv(80) -> relu", "--sort", "max", "--limit", 9]
    run(*words)
    first = files_below("cnnviz-out")
    assert run(*recorded("step")["command"][1:]).code == 0
    assert files_below("cnnviz-out") == first


def test_both_are_recorded(run: Run, plane: Path) -> None:
    run("pipeline", plane, FIVE)
    assert (recorded()["sort"], recorded()["limit"]) == ("auto", 64)
    run("pipeline", plane, FIVE, "--sort", "max", "--limit", 2)
    assert (recorded()["sort"], recorded()["limit"]) == ("max", 2)


def test_a_map_with_nan_is_last(run: Run) -> None:
    planes = np.ones((5, 4, 6), np.float32)
    planes[0, 1, 1] = np.nan
    planes[3, 0] = 7
    np.save("odd.npy", planes)
    for sort in MEASURES:
        run("pipeline", "odd.npy", "relu", "--sort", sort)
        assert grid_channels("odd") == [3, 1, 2, 4, 0]


@pytest.mark.parametrize("text", ["flatten", "relu"])
def test_vectors_and_single_maps_stay_as_they_are(run: Run, plane: Path, text: str) -> None:
    run("pipeline", plane, text)
    before = files_below("cnnviz-out")
    result = run("pipeline", plane, text, "--sort", "max", "--limit", 1)
    after = files_below("cnnviz-out")
    assert {name for name in before if before[name] != after[name]} == {"m/run.json"}
    assert "in the grids" not in result.err


def test_maps_of_one_value_are_sorted_by_it(run: Run, plane: Path) -> None:
    run("pipeline", plane, f"{FIVE} -> global_maxpool", "--stages", "2", "--sort", "max")
    assert recorded()["stages"][1]["pictures"]["grid_channels"] == [1, 0, 3, 2, 4]


def test_without_grids_nothing_is_said(run: Run, plane: Path) -> None:
    result = run("pipeline", plane, FIVE, "--only", "maps", "--sort", "max", "--limit", 2)
    assert grid_channels() is None
    assert "in the grids" not in result.err
    assert len(recorded()["stages"][0]["files"]) == 5


@pytest.mark.parametrize("scale", ["layer", "unit"])
def test_the_terminal_draws_the_grids_maps(run: Run, plane: Path, scale: str) -> None:
    words = ["pipeline", plane, FIVE, "--show", "-q", "--scale", scale]
    out = run(*words, "--sort", "variance", "--limit", 2).out
    assert out.startswith("largest variance first: ")
    assert [out.find(f"conv1 {channel}") >= 0 for channel in range(5)] == [
        False, True, False, True, False,
    ]  # fmt: skip
    assert out.find("conv1 1") < out.find("conv1 3")
    assert "3 more maps are not drawn here" in out
    assert "not drawn" not in run(*words).out


def test_more_maps_than_the_terminal_draws(run: Run) -> None:
    out = run("convolve", sample("step.png"), "-k", "laws", "-k", "1", "--padding", "same",
              "--show", "-q").out  # fmt: skip
    assert "5 more maps are not drawn here" in out


def test_more_maps_than_a_grid_can_show(run: Run, plane: Path) -> None:
    for options in (["--limit", 4100], ["--limit", 4099, "--sort", "none"]):
        result = run("pipeline", plane, "conv(4100, 1)", *options)
        order = "in channel order" if "--sort" in options else "largest variance first"
        assert f"in the grids, {order}: conv1 (4,096 of 4,100 maps)" in result.err
    with Image.open(f"cnnviz-out/{plane.stem}/01_conv_conv1_grid.png") as image:
        assert max(image.size) > 400


@pytest.mark.parametrize("value", [0, -1, "many", 1.5, ""])
def test_wrong_limits(run: Run, plane: Path, value: object) -> None:
    refused(run("pipeline", plane, FIVE, f"--limit={value}"), 2, "--limit", str(value))
    assert not Path("cnnviz-out").exists()


def test_wrong_orders(run: Run, plane: Path) -> None:
    refused(run("pipeline", plane, FIVE, "--sort", "mean"), 2, "mean", "variance", "max")


def test_help_says_what_they_mean(run: Run) -> None:
    for command in ("pipeline", "convolve", "pool"):
        text = " ".join(run(command, "--help-all").out.replace("│", " ").split())
        assert "none is by channel" in text
        assert "variance and max have the largest first" in text
        assert "Only the first N maps" in text
