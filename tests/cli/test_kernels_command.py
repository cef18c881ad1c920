"""``cnnviz kernels``: the list, the card, the picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from tests.cli.conftest import Run, files_below, refused


def test_every_kernel_is_listed_in_every_format(run: Run) -> None:
    table, md = run("kernels").out, run("kernels", "--format", "md").out
    records = run("kernels", "--format", "json").record["kernels"]
    assert len(records) == len(cnnviz.KERNELS)
    for name, record in zip(cnnviz.KERNELS, records, strict=True):
        assert list(record) == ["kernel", "kind", "what it shows", "source"]
        assert record["kernel"].partition("(")[0] == name
        assert name in table
        assert f"| {name}" in md
        assert record["what it shows"]
        assert record["source"]
    assert len({line.count("|") - line.count("\\|") for line in md.splitlines()}) == 1


def test_the_card_of_sobel_x(run: Run) -> None:
    text = run("kernels", "sobel_x").out
    assert "-1 0 1\n-2 0 2\n-1 0 1\n" in text
    assert "sum 0" in text
    assert "rank 1" in text
    assert "Sobel" in text
    record = run("kernels", "sobel_x", "--format", "json").record
    (kernel,) = record["kernels"]
    assert kernel["weights"] == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    assert (kernel["sum"], kernel["rank"], kernel["separable"]) == (0, 1, True)
    column, row = kernel["factors"]
    np.testing.assert_allclose(np.outer(column, row), kernel["weights"], atol=1e-6)


def test_cards_of_banks_calls_numbers_and_files(run: Run) -> None:
    Path("k[red].csv").write_text("1,2\n3,4\n")
    for text, count in [
        ("kirsch", 8),
        ("gaussian(7, sigma=1.5)", 1),
        ("gabor_bank(8)", 8),
        ("1,2;3,4", 1),
        ("3x1: 1,2,3", 1),
        ("@k[red].csv", 1),
    ]:
        assert len(run("kernels", text, "--format", "json").record["kernels"]) == count
        assert run("kernels", text).code == 0
    assert len(run("kernels", "--format", "json", "--", "-1,1/9").record["kernels"]) == 1
    assert "@k[red].csv" in run("kernels", "@k[red].csv").out


def test_the_picture_goes_where_it_is_told(run: Run) -> None:
    result = run("kernels", "gabor(15, theta=45)", "-o", "new/gabor.png", "--format", "json")
    assert result.code == 0
    assert "wrote new/gabor.png" in result.err
    assert len(result.records) == 1
    with Image.open("new/gabor.png") as image:
        assert image.format == "PNG"
    run("kernels", "sobel", "-o", "folder")
    run("kernels", "sobel", "-o", "both.png")
    assert list(files_below(".")) == [
        "both.png", "folder/sobel_x.png", "folder/sobel_y.png",
        "new/gabor.png",
    ]  # fmt: skip


def test_an_existing_picture_is_kept_without_force(run: Run) -> None:
    Path("k.png").write_text("mine")
    refused(run("kernels", "sobel_x", "-o", "k.png"), 1, "k.png", "--force")
    assert Path("k.png").read_text() == "mine"
    assert run("kernels", "sobel_x", "-o", "k.png", "--force").code == 0
    assert Path("k.png").read_bytes().startswith(b"\x89PNG")
    assert list(files_below(".")) == ["k.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sobelx"], 2, ["sobelx", "sobel_x"]),
        (["SOBEL_Q"], 2, ["sobel"]),
        ([""], 2, ["empty"]),
        (["gabor(15"], 2, ["found the end"]),
        (["gabor(15, foo=1)"], 2, ["foo", "theta"]),
        (["box(0)"], 2, ["0"]),
        (["box(99999)"], 2, ["99999"]),
        (["1,2;3"], 2, ["row 2"]),
        (["1/0"], 2, ["1/0"]),
        (["1,nan"], 2, ["nan"]),
        (["1,x"], 2, ["'x'"]),
        (["3x3: 1,2"], 2, ["3x3", "9"]),
        (["@"], 2, ["@"]),
        (["@missing.csv"], 1, ["missing.csv"]),
        (["@."], 1, ["folder"]),
        (["@text.csv"], 1, ["text.csv"]),
        (["@four.npy"], 1, ["four.npy"]),
        (["-o", "x.png"], 2, ["--out"]),
        (["sobel_x", "-o", "text.csv/x.png"], 1, ["text.csv"]),
        (["sobel_x", "--format", "xml"], 2, ["xml", "json"]),
    ],
)
def test_errors(run: Run, arguments: list[str], code: int, words: list[str]) -> None:
    Path("text.csv").write_text("one,two\n")
    np.save("four.npy", np.zeros((1, 2, 3, 4, 5)))
    refused(run("kernels", *arguments), code, *words)


def test_json_text_is_one_line(run: Run) -> None:
    out = run("kernels", "freichen", "--format", "json").out
    assert out.count("\n") == 1
    assert len(json.loads(out)["kernels"]) == 9


def test_its_own_picture_is_replaced_and_no_other(run: Run) -> None:
    assert run("kernels", "sobel_x", "-o", "k.png").code == 0
    before = Path("k.png").read_bytes()
    assert run("kernels", "sobel_y", "-o", "k.png").code == 0
    assert Path("k.png").read_bytes() != before
    Path("k.png").write_bytes(b"mine")
    refused(run("kernels", "sobel_x", "-o", "k.png"), 1, "k.png", "not written by cnnviz")
    assert Path("k.png").read_bytes() == b"mine"
    assert run("kernels", "sobel_x", "-o", "k.png", "--force").code == 0


@pytest.mark.parametrize("out", ["k.jpg", "-", "k.tar.gz"])
def test_only_a_png_or_a_folder(run: Run, out: str) -> None:
    refused(run("kernels", "sobel_x", "-o", out), 2, "--out", out, ".png")
    assert not Path(out).exists()


def test_the_options_of_a_family_are_explained(run: Run) -> None:
    text = " ".join(run("kernels", "gabor(7)").out.split())
    for told in ("gabor(size=3", "theta : float:", "wavelength : float, optional:", "phase :"):
        assert told in text
    assert "Raises" not in text
