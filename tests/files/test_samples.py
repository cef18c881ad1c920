"""The pictures that come with cnnviz."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cnnviz import CnnvizError, InputOptions, load_image
from cnnviz.files.images import expand_inputs, stem
from cnnviz.files.samples import FOLDER, located, named, sample_files, sample_records
from cnnviz.files.spec import read_labels


def test_every_sample_has_a_row_with_its_licence():
    records = sample_records()
    assert sorted(record["sample"] for record in records) == sorted(
        f"sample:{name}" for name in sample_files()
    )
    for record in records:
        assert all(record.values()), record
        assert record["licence"] in ("CC0", "CC BY-SA 3.0", "public domain")


def test_sizes_are_those_of_the_pictures():
    for record in sample_records():
        if size := re.match(r"(\d+) × (\d+), (gray|colour|numbers)$", record["size"]):
            pixels = load_image(record["sample"], InputOptions(color="rgb"))
            assert pixels.shape[1:] == (int(size[1]), int(size[2]))
            coloured = len(pixels) == 3 and bool((pixels[0] != pixels[2]).any())
            assert coloured == (size[3] == "colour")
        else:
            assert record["sample"] == "sample:labels_digits"


def test_licences_named_are_there():
    texts = {path.stem: path.read_text("utf-8") for path in (FOLDER / "licences").iterdir()}
    assert "CC0 1.0 Universal" in texts["CC0-1.0"]
    assert "Attribution-ShareAlike 3.0 Unported" in texts["CC-BY-SA-3.0"]


@pytest.mark.parametrize("text", ["sample:chelsea", "Sample:CHELSEA", "sample:chelsea.jpg"])
def test_names_in_any_case(text):
    assert expand_inputs([text]) == ["sample:chelsea"]
    assert stem(named(text)) == "chelsea"
    np.testing.assert_array_equal(load_image(text), load_image(str(FOLDER / "chelsea.jpg")))


def test_of_two_files_of_one_name_the_second_keeps_its_ending():
    assert located("sample:step").endswith("step.csv")
    assert located("sample:step.png").endswith("step.png")


def test_other_sources_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("chelsea").write_text("1 2")
    for source in ("chelsea", "-", "", "./sample:chelsea", "examples:chelsea"):
        assert named(source) == located(source) == source


@pytest.mark.parametrize(
    ("text", "hint"), [("sample:chelse", "chelsea"), ("sample:", "cnnviz samples")]
)
def test_unknown_names(text, hint):
    for use in (named, located, load_image, lambda source: expand_inputs([source])):
        with pytest.raises(CnnvizError, match=hint) as caught:
            use(text)
        assert caught.value.exit_code == 2


def test_labels_of_the_digits():
    assert read_labels(Path("sample:labels_digits")) == tuple("0123456789")


def test_max_pooling_keeps_what_average_pooling_evens_out():
    """Of blocks of 4 by 4: specks, thin lines and the place of an edge."""

    def pooled(name):
        plane = load_image(f"sample:{name}")[0]
        blocks = plane.reshape(len(plane) // 4, 4, -1, 4)
        return blocks.max((1, 3)), blocks.mean((1, 3))

    highest, mean = pooled("noise")
    assert (highest == 1).mean() > 0.2
    assert mean.max() < 0.7
    highest, mean = pooled("texture")
    assert np.ptp(highest[:, :16]) > 3 * np.ptp(mean[:, :16])
    assert np.ptp(highest[:, 16:]) == 0 < np.ptp(mean[:, 16:])
    highest, mean = pooled("edge")
    assert len(np.unique(highest)) == 2 < len(np.unique(mean))
