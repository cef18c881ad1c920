"""Folders of images, and the names of their output folders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnviz.errors import CnnvizError
from cnnviz.files.images import (
    expand_inputs,
    stem,
    unique_stems,
)

# Folders and names


def test_folders(tmp_path):
    for name in ("b.PNG", "a.jpg", ".hidden.png", "x.csv", "x.txt", "x.npy", "x.h5", "read.me"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "c.png").mkdir()
    (tmp_path / "c.png" / "d.png").write_bytes(b"")
    expected = ["no.png", str(tmp_path / "a.jpg"), str(tmp_path / "b.PNG"), "-", ""]
    assert expand_inputs(["no.png", str(tmp_path), "-", ""]) == expected
    assert expand_inputs([str(tmp_path / "x.csv")]) == [str(tmp_path / "x.csv")]
    assert expand_inputs(["a\0b", "y" * 5000]) == ["a\0b", "y" * 5000]
    assert expand_inputs([]) == []


def test_folder_without_images(tmp_path):
    (tmp_path / "x.csv").write_text("1")
    with pytest.raises(CnnvizError, match="no images") as caught:
        expand_inputs([str(tmp_path)])
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a/cat.jpg", "cat"),
        ("cat.tar.gz", "cat.tar"),
        ("-", "stdin"),
        ("", "image"),
        (".", "image"),
        ("..", "image"),
        ("a/..", "image"),
        ("...", "image"),
        ("/", "image"),
        ("a\nb\x1b.png", "a_b_"),
        ("a\0b.png", "a_b"),
        ('<"c:d*">.png', "__c_d___"),
        ("my cat .png", "my cat"),
        ("naïve.png", "naïve"),
        ("\udcff.png", "_"),
        ("con.png", "con_"),
        ("AUX.tar.gz", "AUX_.tar"),
        ("com1 .png", "com1_"),
        ("nul", "nul_"),
        ("console.png", "console"),
        ("com10.png", "com10"),
    ],
)
def test_stem(source, expected):
    assert stem(source) == expected


@pytest.mark.parametrize(
    ("stems", "unique"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a-2", "a-3"]),
        (["a", "A", "a"], ["a", "A-2", "a-3"]),
        (["a", "a", "a-2"], ["a", "a-3", "a-2"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
        (["a", "a", "A-2", "a-3"], ["a", "a-4", "A-2", "a-3"]),
        (["a-2", "a-2", "a", "a"], ["a-2", "a-2-2", "a", "a-3"]),
        (["straße", "STRASSE"], ["straße", "STRASSE-2"]),
        (["e\u0301", "\u00e9"], ["e\u0301", "\u00e9-2"]),
    ],
)
def test_unique_stems(stems, unique):
    assert unique_stems(stems) == unique


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a-3", "a-2-2", "b"]), max_size=12))
def test_unique_stems_never_collide_and_first_ones_stay(stems):
    unique = unique_stems(stems)
    assert len({name.casefold() for name in unique}) == len(stems)
    firsts = {stem.casefold(): i for i, stem in reversed(list(enumerate(stems)))}
    assert all(unique[i] == stems[i] for i in firsts.values())
