"""``cnnviz shapes``: the table without an image."""

from __future__ import annotations

import csv
import io
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Run, refused
from tests.cli.test_pipeline import KEYS, STAGE_KEYS, TOTALS_KEYS


def test_the_stem_of_resnet(run: Run) -> None:
    text = "conv(64, 7, stride=2, padding=3) -> maxpool(3, stride=2, padding=1)"
    record = run("shapes", text, "--input", "3x224x224", "--format", "json").record
    assert list(record) == KEYS
    assert [list(stage) for stage in record["stages"]] == [STAGE_KEYS] * 2
    assert list(record["totals"]) == TOTALS_KEYS
    conv, pool = record["stages"]
    assert conv["output_shape"] == [64, 112, 112]
    assert conv["mult_adds"] == 64 * 3 * 49 * 112 * 112
    assert pool["output_shape"] == [64, 56, 56]
    assert pool["receptive_field"] == [11, 11]
    assert pool["effective_stride"] == [4, 4]
    assert record["input"] == {"path": None, "shape": [3, 224, 224], "min": None, "max": None}
    for key in ("min", "max", "mean", "zeros", "seconds", "algorithm"):
        assert conv[key] is None
    assert conv["files"] == []
    assert record["predictions"] == []


@pytest.mark.parametrize(
    ("name", "params", "mult_adds"),
    [
        ("vgg16", 138_357_544, 15_470_264_320),
        ("alexnet", 61_100_840, 714_188_480),
        ("lenet5", 61_706, 416_520),
        ("resnet18", 11_689_512, 1_814_073_344),
        ("digits", 51_514, 5_327_328),
    ],
)
def test_published_counts(run: Run, name: str, params: int, mult_adds: int) -> None:
    given = ["--input", "3x224x224"] if name in ("vgg16", "alexnet") else []
    totals = run("shapes", name, *given, "--format", "json").record["totals"]
    assert (totals["params"], totals["mult_adds"]) == (params, mult_adds)
    assert f"{params:,}" in run("shapes", name, *given).out


def test_nothing_is_written_and_any_size_is_instant(run: Run, work: Path) -> None:
    result = run("shapes", "vgg16", "--input", "3x1000000x1000000", "--format", "json")
    assert result.record["stages"][0]["output_shape"] == [64, 1_000_000, 1_000_000]
    assert result.err == ""
    assert not list(work.iterdir())


def test_the_input_may_have_two_sizes_and_other_signs(run: Run) -> None:
    for text in ("28x30", "1×28×30", "1,28,30", "[1, 28, 30]"):
        record = run("shapes", "relu", "--input", text, "--format", "json").record
        assert record["input"]["shape"] == [1, 28, 30]


@pytest.mark.parametrize("form", ["table", "csv", "md"])
def test_columns_of_every_format(run: Run, form: str) -> None:
    result = run("shapes", "conv(2) -> relu", "--input", "1x8x8", "--format", form,
                 "--columns", "name,output")  # fmt: skip
    assert result.code == 0
    assert "conv1" in result.out
    assert "kernel" not in result.out.lower()
    if form == "csv":
        assert list(csv.reader(io.StringIO(result.out))) == [
            ["name", "output"], ["conv1", "2x6x6"], ["relu1", "2x6x6"],
        ]  # fmt: skip


def test_all_columns(run: Run) -> None:
    result = run("shapes", "conv(2)", "--input", "1x8x8", "--format", "csv", "--columns", "all")
    (row,) = csv.DictReader(io.StringIO(result.out))
    assert row["settings"] == "conv(2)"
    assert "min" not in row


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["relu"], ["--input", "3x224x224"]),
        (["relu", "--input", "3x0x5"], ["3x0x5"]),
        (["relu", "--input", "3x5"], []),
        (["relu", "--input", "abc"], ["abc"]),
        (["relu", "--input", ""], ["--input"]),
        (["relu", "--input", "-1x5x5"], ["-1x5x5"]),
        (["vg16"], ["vg16", "vgg16"]),
        (["rellu", "--input", "1x5x5"], ["rellu", "relu"]),
        (["conv(8, strid=2)", "--input", "1x5x5"], ["strid", "stride"]),
        (["conv(sobelx)", "--input", "1x5x5"], ["sobelx", "sobel_x"]),
        (["", "--input", "1x5x5"], ["no layer"]),
        (["relu ->", "--input", "1x5x5"], ["found the end"]),
        (["relu as a -> relu as a", "--input", "1x5x5"], ["'a'", "taken"]),
        (["relu -> add(later) -> relu as later", "--input", "1x5x5"], ["later", "cycle"]),
        (["add(me) as me", "--input", "1x5x5"], ["me"]),
        (["relu -> from(nowhere)", "--input", "1x5x5"], ["nowhere"]),
        (["conv(8, stride=0)", "--input", "1x5x5"], ["stride", "0"]),
        (["relu", "--input", "1x5x5", "--columns", "nme"], ["nme", "name"]),
        (["relu", "--input", "1x5x5", "--columns", ""], ["--columns"]),
    ],
)
def test_wrong_requests(run: Run, arguments: list[str], words: list[str]) -> None:
    result = run("shapes", *arguments)
    if arguments[-1] == "3x5":
        assert result.code == 0  # two numbers are rows and columns
        return
    refused(result, 2, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.toml"], ["nowhere.toml", "does not exist"]),
        (["conv(8, 7)", "--input", "1x5x5"], ["7×7", "5×5"]),
        (["conv(8, 3, padding=9, padding_mode=reflect)", "--input", "1x5x5"], ["9", "5"]),
        (["dense(8)", "--input", "1x5x5"], ["dense", "flatten"]),
        (["conv(4, groups=2)", "--input", "1x5x5"], ["groups=2"]),
    ],
)
def test_what_does_not_fit(run: Run, arguments: list[str], words: list[str]) -> None:
    refused(run("shapes", *arguments), 1, *words)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("pipeline = [", "TOML"),
        ("pipelin = 'relu'", "pipeline"),
        ("pipeline = 3", "pipeline"),
        ("pipeline = 'rellu'", "relu"),
        ("pipeline = 'relu'\n[input]\ncolour = 'gray'", "color"),
        ("pipeline = 'relu'\n[input]\nsize = [0, 3]", "size"),
        ("pipeline = 'relu'\n[input]\nmean = 'x'", "mean"),
    ],
)
def test_broken_toml(run: Run, content: str, word: str) -> None:
    Path("s.toml").write_text(content)
    refused(run("shapes", "s.toml", "--input", "1x5x5"), 2, "s.toml", word)


# --explain ----------------------------------------------------------------------------------------


def test_why_112(run: Run) -> None:
    result = run("shapes", "conv(64, 7, stride=2, padding=same)", "--input", "3x224x224",
                 "--explain")  # fmt: skip
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "1 conv1  conv(64, 7, 2, same)  3×224×224 -> 64×112×112",
        "    channels       64, one for each filter",
        "    rows, columns  ⌊(224 + 2 + 3 − 7) / 2⌋ + 1 = 112",
        (
            "    padding        same: ⌈224 / 2⌉ = 112 windows need (112 − 1)·2 + 7 = 229 pixels, "
            "5 more than 224: 2 before, 3 after"
        ),
        "    untouched      none",
        "    parameters     64·3·7·7 + 64 = 9,472 (weight + bias)",
    ]


def test_explained_json_is_the_table_and_more(run: Run) -> None:
    arguments = ["shapes", "conv(4, 3, stride=2) -> relu -> gap", "--input", "1x8x9"]
    plain = run(*arguments, "--format", "json").record
    result = run(*arguments, "--format", "json", "--explain")
    assert result.err == ""
    assert list(result.record) == KEYS
    assert result.record["totals"] == plain["totals"]
    for stage, other in zip(result.record["stages"], plain["stages"], strict=True):
        assert list(stage) == [*STAGE_KEYS, "derivation", "untouched"]
        assert {key: stage[key] for key in STAGE_KEYS} == other
    conv, relu, _ = result.record["stages"]
    assert conv["untouched"] == {"rows": 1, "columns": 0}
    assert {"label": "untouched, rows", "text": "1 of 8: 7"} in conv["derivation"]
    assert relu["untouched"] is None
    assert relu["derivation"] == [{"label": "shape", "text": "4×3×4, unchanged"}]


SMALL = ("maxpool(2) -> maxpool(2) -> conv(5, 3) -> flatten -> dense(2)", "--input", "1x10x30")


def test_what_would_fit_is_told_after_the_arithmetic(run: Run) -> None:
    result = run("shapes", *SMALL, "--explain")
    assert result.code == 1
    assert result.err.startswith("error: stage 3 conv1: a window of 3×3 does not fit")
    assert "1 maxpool1" in result.out
    assert "2 + 0 + 0 − 3 = −1 < 0: no window fits" in result.out
    assert "4 flatten1" not in result.out
    assert "set padding=same at conv1" in result.out
    commands = re.findall(r"^ +(cnnviz shapes .*)$", result.out, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        again = run(*shlex.split(command)[1:])
        assert (again.code, again.err) == (0, "")


def test_fixes_in_json_are_commands_that_run(run: Run) -> None:
    result = run("shapes", *SMALL, "--explain", "--format", "json")
    record = result.record
    assert result.code == 1
    assert len(record["stages"]) == 2
    assert record["totals"] is None
    error = record["error"]
    assert (error["stage"], error["name"]) == (3, "conv1")
    assert error["input_shapes"] == [[1, 2, 7]]
    assert error["fails"] == ["2 + 0 + 0 − 3 = −1 < 0: no window fits"]
    assert error["message"] in result.err
    assert record["fixes"]
    for fix in record["fixes"]:
        assert set(fix) == {"text", "pipeline", "input", "command"}
        text, shape = fix["pipeline"], "x".join(map(str, fix["input"]))
        assert run("shapes", text, "--input", shape).code == 0
        assert run(*shlex.split(fix["command"])[1:]).code == 0


def test_a_bundled_network_keeps_its_name_in_commands(run: Run) -> None:
    result = run("shapes", "lenet5", "--input", "1x10x11", "--explain")
    assert "cnnviz shapes lenet5 --input 1x12x12" in result.out


def test_long_commands_are_told_by_the_stages_that_change(run: Run) -> None:
    arguments = ("shapes", "vgg16", "--input", "3x20x20", "--explain")
    result = run(*arguments)
    first, *others = result.out.partition("What would fit\n")[2].splitlines()
    assert first == "    use an input of 3×32×32"  # whose command is short
    assert others[0] == "      cnnviz shapes vgg16 --input 3x32x32"
    assert "      features.30: maxpool(2, padding=same)" in others
    assert others[-1] == "  --format json has the whole pipelines"
    assert max(map(len, others)) < 120
    for fix in run(*arguments, "--format", "json").record["fixes"]:
        assert run(*shlex.split(fix["command"])[1:]).code == 0
    short = run("shapes", *SMALL, "--explain").out
    assert "--format json" not in short
    assert short.index("set padding=same at conv1") < short.index("use an input of")


def test_commands_for_a_model_with_weights(run: Run) -> None:
    """Both the file's own and changed pipelines run; that weights stay behind is told."""
    pytest.importorskip("onnx")
    from tests.fuzz.onnx_models import model_of, weights

    nodes = [("MaxPool", ["x"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
             ("Conv", ["p", "w"], ["y"], {})]  # fmt: skip
    model = model_of(nodes, {"w": weights(4, 2, 3, 3)}, (1, 2, 12, 12)).SerializeToString()
    Path("a folder").mkdir()
    for name in ("a folder/my model.onnx", "-.onnx"):
        Path(name).write_bytes(model)
        words = ["--input", "2x5x9", "--explain"]
        result = run("shapes", *words, "--", name)
        assert result.code == 1
        assert f"the weights that come with {name} are not in a changed pipeline" in result.out
        commands = re.findall(r"^ +(cnnviz shapes .*)$", result.out, re.MULTILINE)
        assert any(name in command for command in commands)
        assert any("padding=same" in command for command in commands)
        for command in commands:
            again = run(*shlex.split(command)[1:])
            assert (again.code, again.err) == (0, ""), command
    bundled = run("shapes", "digits", "--input", "1x7x7", "--explain")
    assert "with digits are not in a changed pipeline" in bundled.out
    assert "weights that come" not in run("shapes", *SMALL, "--explain").out


def test_a_last_stage_named_like_a_file(run: Run) -> None:
    Path("odd.toml").write_text('pipeline = "conv(3, 7) as a.onnx"')
    result = run("shapes", "odd.toml", "--input", "1x5x5", "--explain")
    commands = re.findall(r"^ +(cnnviz shapes .*)$", result.out, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        assert run(*shlex.split(command)[1:]).code == 0, command


def test_a_request_that_is_wrong_keeps_its_code(run: Run) -> None:
    result = run("shapes", "maxpool(2, padding=2)", "--input", "1x5x5", "--explain")
    assert result.code == 2
    assert "2 ≥ 2: the padding before holds a whole window" in result.out
    assert "cnnviz shapes 'maxpool(2, padding=1)' --input 1x5x5" in result.out


def test_where_nothing_is_found_that_is_told(run: Run) -> None:
    text = " -> ".join(["flatten", *["slice(9, axis=2) -> reshape(7)"] * 5])
    result = run("shapes", text, "--input", "1x3x4", "--explain")
    assert result.code == 1
    assert "No change was found that would fit" in result.out


def test_explained_as_markdown(run: Run) -> None:
    result = run("shapes", *SMALL, "--explain", "--format", "md")
    assert result.out.startswith(
        "### 1 maxpool1: 1×10×30 -> 1×5×15\n\n    maxpool(2)\n\n- channels"
    )
    assert "- rows: **2 + 0 + 0 − 3 = −1 < 0: no window fits**" in result.out
    assert (
        "### What would fit\n\n- set padding=same at conv1\n\n      cnnviz shapes '" in result.out
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "csv"], ["--explain", "csv", "json"]),
        (["--columns", "name"], ["--columns", "--explain"]),
    ],
)
def test_options_that_do_not_go_with_derivations(
    run: Run, arguments: list[str], words: list[str]
) -> None:
    refused(run("shapes", "relu", "--input", "1x5x5", "--explain", *arguments), 2, *words)


def test_the_plain_error_points_to_the_derivation(run: Run) -> None:
    refused(run("shapes", "conv(8, 7)", "--input", "1x5x5"), 1, "padding=same", "--explain")


def test_names_of_a_model_cannot_steer_the_terminal(run: Run) -> None:
    Path("odd.toml").write_text('pipeline = "conv(\\"1,0\\") as a.b-c -> dense(2)"')
    result = run("shapes", "odd.toml", "--input", "1x5x5", "--explain")
    assert result.code == 1
    assert '1 a.b-c  conv("1,0")' in result.out
    for command in re.findall(r"^ +(cnnviz shapes .*)$", result.out, re.MULTILINE):
        assert run(*shlex.split(command)[1:]).code == 0


def test_two_pipelines_stand_side_by_side(run: Run) -> None:
    words = ("shapes", "conv(4, 3) -> relu", "conv(4, 3, stride=2) -> relu -> gap")
    result = run(*words, "--input", "1x9x8")
    assert result.code == 0
    assert "shapes part at stage 1 (conv1): 4×7×6 and 4×4×3" in result.out
    assert "params       40 : 40, equal" in result.out
    record = run(*words, "--input", "1x9x8", "--json").record
    assert record["part_at"] == 1
    assert [stage["output_shape"] for stage in record["b"]["stages"]][-1] == [4, 1, 1]
    rows = run(*words, "--input", "1x9x8", "--format", "csv").out.splitlines()
    assert rows[0].startswith("index,a_name,a_layer")
    assert len(rows) == 4
    assert run("shapes", "lenet5", "flatten -> dense(10)").code == 0  # takes lenet5's input
    refused(run("shapes", "relu", "relu", "relu", "--input", "1x2x2"), 2, "3 are given")
    refused(run("shapes", "relu", "relu", "--explain", "--input", "1x2x2"), 2, "--explain")
    refused(run("shapes", "relu", "relu"), 2, "--input")


def test_channels_last_is_noticed(run: Run) -> None:
    for typed, read in (("784", "784 channels of 1x1"), ("28x32", "1 channel of 28x32")):
        assert f"{typed} is {read}; " in run("shapes", "relu", "--input", typed).err
    assert "did you mean --input 3x224x225?" in run("shapes", "relu", "--input", "224x225x3").err
    assert run("shapes", "relu", "--input", "3x224x224").err == ""
    assert run("shapes", "relu", "--input", "3x8x4").err == ""
