"""The little language: what each piece reads as, and that wrong text is told, never a crash."""

# ruff: noqa: S311 - what is random here is not secret

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnviz.core.layers import LAYERS
from cnnviz.errors import CnnvizError, RequestError
from cnnviz.files.kernel_text import parse_kernels
from cnnviz.files.language import (
    Call,
    number_of,
    parse_call,
    parse_pipeline,
    parse_shape,
    parse_size,
    parse_value,
)
from cnnviz.files.spec import parse


def values(text):
    return parse_call(f"f({text})", "test").values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1, -2, +3", (1, -2, 3)),
        ("1.5, .5, 5., -1e-3, 2E3", (1.5, 0.5, 5.0, -0.001, 2000.0)),
        ("1/4, -1/2, 1 / 8", (0.25, -0.5, 0.125)),
        ("same, zeros, true, None", ("same", "zeros", "true", "None")),
        ("a.b-c, x_1, same-lower", ("a.b-c", "x_1", "same-lower")),
        ("(1, 2), (1, 2, 3, 4), ((1, 2), 3)", ((1, 2), (1, 2, 3, 4), ((1, 2), 3))),
        ("(1,), (1)", ((1,), (1,))),
        ("'a b', \"c,d\", 'it''s'"[:14], ("a b", "c,d")),
        (r'"a\"b", "c\\d", ' + r"'e\'f'", ('a"b', "c\\d", "e'f")),
        ("'#no comment', '->', '→'", ("#no comment", "->", "→")),
        ("@k.csv, @dir/k-1.npy", ("@k.csv", "@dir/k-1.npy")),
        ("1, 2,", (1, 2)),
        ("", ()),
        ("\n 1,\n\n 2 # two\n", (1, 2)),
    ],
)
def test_values(text, expected):
    assert values(text) == expected
    assert [type(value) for value in values(text)] == [type(value) for value in expected]


def test_calls_within_calls():
    inner = values("gaussian(7, sigma=1.5), box")[0]
    assert (inner.name, inner.values, inner.settings) == ("gaussian", (7,), {"sigma": 1.5})
    assert inner.text == "gaussian(7, sigma=1.5)"
    assert parse_call("f(a=1, b=(2, 3), c=g(x))", "t").settings == {
        "a": 1, "b": (2, 3), "c": Call("g", ("x",), {}, "g(x)"),
    }  # fmt: skip


def terms(text):
    return [(term.call.name, term.name) for term in parse_pipeline(text)]


@pytest.mark.parametrize(
    "text",
    [
        "a -> b as x -> c",
        "a->b as x->c",
        "a → b as x → c",
        "a\nb as x\nc",
        "\n\n a \n\n -> b as x ->\n c \n # the end",
        "a # one\n-> b as x # two\n-> c",
        "a() -> b() as x -> c()",
        "a(\n) -> b(\n) as x -> c",
        "a\r\nb as x\r\nc",
        "a\t->\tb\tas\tx\t->\tc",
    ],
)
def test_terms_are_joined_by_arrows_and_lines(text):
    assert terms(text) == [("a", None), ("b", "x"), ("c", None)]


def test_words_end_before_an_arrow():
    assert terms("a-b->c-->d as e-->f") == [("a-b", None), ("c-", None), ("d", "e-"), ("f", None)]


def test_nothing_is_no_terms():
    assert terms("") == terms("  \n\n # nothing\n") == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("relu ->", "column 8: expected a name, found the end"),
        ("-> relu", "column 1: expected a name, found '->'"),
        ("relu -> -> relu", "column 9: expected a name, found '->'"),
        ("relu relu", "column 6: expected -> or the end, found 'relu'"),
        ("relu as", "column 8: expected a name after as, found the end"),
        ("relu as 3", "column 9: expected a name after as, found '3'"),
        ("relu as a b", "column 11: expected -> or the end, found 'b'"),
        ("conv(8", "column 7: expected ',' or ')', found the end"),
        ("conv(8,", "column 8: expected a value, found the end"),
        ("conv(8,,9)", "column 8: expected a value, found ','"),
        ("conv(,8)", "column 6: expected a value, found ','"),
        ("conv(8 9)", "column 8: expected ',' or ')', found '9'"),
        ("conv(8))", "column 8: expected -> or the end, found ')'"),
        ("conv(8) 5", "column 9: expected -> or the end, found '5'"),
        ("conv(stride=)", "column 13: expected a value, found ')'"),
        ("conv(stride==2)", "column 13: expected a value, found '='"),
        ("conv(=2)", "column 6: expected a value, found '='"),
        ("conv(8=2)", "column 7: expected ',' or ')', found '='"),
        ("conv(stride=1, stride=2)", "stride is given twice"),
        ("conv(stride=1, 8)", "column 16: expected name=value"),
        ("conv(())", "column 7: expected a value, found ')'"),
        ("conv((1, 2)", "column 12: expected ',' or ')', found the end"),
        ("conv(1/)", "column 8: expected a number after /"),
        ("conv(1/x)", "column 8: expected a number after /"),
        ("conv(1/0)", "division by 0"),
        ("conv(/2)", "column 6: expected a value, found '/'"),
        ("conv(1/2/3)", "column 9: expected ',' or ')', found '/'"),
        ('conv("a)', "column 6: cannot read '\"'"),
        ("conv('a\n')", 'line 1, column 6: cannot read "\'"'),
        ("conv(8;9)", "column 7: cannot read ';'"),
        ("conv(8) | relu", "column 9: cannot read '|'"),
        ("relu -> re%lu", "column 11: cannot read '%'"),
        ("relu -> 8", "column 9: expected a name, found '8'"),
        ("3x3", "column 1: cannot read '3'"),
        ("conv(3x)", "column 6: cannot read '3'"),
        ("conv(1_000)", "column 6: cannot read '1'"),
        ("conv(--1)", "column 6: cannot read '-'"),
        ("conv(1.2.3)", "column 6: cannot read '1'"),
        ("conv(@)", "column 6: cannot read '@'"),
        ("conv(é)", "column 6: cannot read 'é'"),
        ("conv(٣)", "column 6: cannot read '٣'"),
        ("relu\nrelu\n  conv(8;9)", "line 3, column 9: cannot read ';'"),
        ("relu -> \n relu )", "line 2, column 7: expected -> or the end, found ')'"),
        ("relu\0", "column 5: cannot read '\\x00'"),
        ("f" + "(" * 3, "expected a value"),
        ("f(" + "(" * 40 + "1" + ")" * 41, "more than 16 parentheses deep"),
        ("f(" * 40 + "1" + ")" * 40, "more than 16 parentheses deep"),
    ],
)
def test_syntax_errors_tell_where(text, where):
    with pytest.raises(RequestError) as caught:
        parse_pipeline(text)
    message = caught.value.message
    assert where in message
    assert re.match(r"pipeline, (line \d+, )?column \d+: ", message)
    assert caught.value.hint.startswith("near: ")
    assert "\n" not in caught.value.hint


def test_calls_must_end():
    with pytest.raises(RequestError, match="column 6: expected the end, found '->'"):
        parse_call("f(1) -> g", "kernel")


def test_text_is_bounded():
    with pytest.raises(RequestError, match="longer than 1,000,000"):
        parse_pipeline("r" * 1_000_001)
    assert len(parse_pipeline("relu\n" * 2000)) == 2000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", 7), ("-7", -7), ("1e2", 100.0), ("9" * 19, int("9" * 19)), ("9" * 400, float("inf"))],
)
def test_number_of(text, expected):
    assert number_of(text) == expected
    assert type(number_of(text)) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2), ("2,1", (2, 1)), ("(2, 1)", (2, 1)), (" 1,2,3,4 ", (1, 2, 3, 4)), ("-1", -1),
        ("0.5", 0.5), (".5", 0.5), ("1e-3", 0.001), ("same", "same"), ("2,x", "2,x"), ("", ""),
        ("1,,2", "1,,2"), ("SAME_UPPER", "SAME_UPPER"), ("٣", "٣"),
    ],
)  # fmt: skip
def test_parse_value(text, expected):
    assert parse_value(text) == expected


def test_sizes_and_shapes():
    assert parse_size("224", "x") == (224, 224)
    assert parse_size(" 28 x 32 ", "x") == parse_size("28×32", "x") == parse_size("28,32", "x")
    assert parse_shape("[3, 5, 7]") == parse_shape("3×5×7") == (3, 5, 7)
    for wrong in ("", "x", "0", "3x0", "1x2x3", "-1", "1.5", "9999999", "٣"):
        with pytest.raises(RequestError, match="--resize is"):
            parse_size(wrong, "--resize")
    for wrong in ("", "1x2x3x4", "0x3x3", "3x0x3", "axbxc", "3x-1x3", "1x99999999x1", "٣x3"):
        with pytest.raises(RequestError, match="--input is"):
            parse_shape(wrong)


# Fuzz -------------------------------------------------------------------------------------------

SEEDS = [
    "conv(sobel_x, sobel_y, padding=same) -> relu -> maxpool(2) -> conv(8, 5) as b -> add(b)",
    "conv(box(1), '1', \"1x1: 1\")\n-> gap # end",
    "from(input) -> conv_transpose(4, (2, 3), stride=2, output_padding=(1, 0), groups=2)",
    "depthwise(2, 3, padding=(1, 2, 3, 4), padding_mode=constant, pad_value=-1/3) → softmax",
    "relu -> concat(1, input) as x.y-z -> pad(1) -> upsample(2, mode=bilinear) -> dense(10, true)",
    "lrn(5, alpha=1e-4) -> lppool((2, 2), norm_type=3.5, ceil_mode=yes)\nadaptive_avgpool(6)",
]
PIECES = [
    "->", "→", "(", ")", ",", "=", "/", "\n", "#", "as", '"', "'", "\\", "@", "@x.csv", "-",
    "+", ".",
    "1", "0", "-1", "1e9", "1e999", "9" * 25, "3x3:", ";", " ", "\t", "\0", "é", "٣",
    "💥", "\ud800",
    "conv", "relu", "add", "from", "input", "same", "true", "nan", "inf", "gaussian", "random",
    "box",
    "filters", "stride", "kernel_size", "None", "maxpool", "dense", "\x85", "\u2028", "\r",
]  # fmt: skip


WORDS = [
    *LAYERS, *("1", "2", "3", "0", "10", "input", "a", "b", "x", "conv1", "relu1", "same", "valid"),
    *("sobel", "box", "reflect", "true", "false", "as", "stride", "padding", "bias", "seed",
    "groups"),
]  # fmt: skip


def mutated(rng):
    text = rng.choice(SEEDS)
    if rng.random() < 0.5:  # a word for a word: syntax stays, sense may not
        parts = re.split(r"(\w+)", text)
        for _ in range(rng.randint(1, 2)):
            parts[rng.randrange(1, len(parts), 2)] = rng.choice(WORDS)
        return "".join(parts)
    for _ in range(rng.randint(1, 6)):
        at, to = sorted(rng.randint(0, len(text)) for _ in range(2))
        match rng.randint(0, 3):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[min(to, at + 4) :]
            case 2:
                text = text[:at] + rng.choice(PIECES) + text[at + 1 :]
            case 3:
                text = text[:to] + text[at:to] + text[to:]
    return text


def read_or_refuse(text):
    """Parse; CnnvizError is an answer, anything else a crash. What is read reads back."""
    try:
        pipeline = parse(text)
    except CnnvizError as error:
        assert error.message  # noqa: PT017
        return False
    written = str(pipeline)
    assert parse(written) == pipeline, f"{text!r} was written as {written!r}"
    return True


def test_mutations_are_read_or_refused():
    rng = random.Random(20)
    read = sum(read_or_refuse(mutated(rng)) for _ in range(6000))
    assert read > 150  # the fuzz reaches behind the syntax


@pytest.mark.heavy
def test_many_mutations_are_read_or_refused():
    rng = random.Random()
    for _ in range(40_000):
        text = mutated(rng)
        try:
            read_or_refuse(text)
        except Exception as error:
            raise AssertionError(repr(text)) from error


def test_piles_of_pieces_are_read_or_refused():
    rng = random.Random(21)
    for _ in range(15_000):
        text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 12)))
        try:
            parse_pipeline(text)
        except RequestError:
            continue
        read_or_refuse(text)


@given(st.text(max_size=60))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text):
    read_or_refuse(text)
    try:
        parse_kernels(text)
    except CnnvizError as error:
        assert error.message  # noqa: PT017


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes_are_read_or_refused(data):
    read_or_refuse(data.decode("latin-1"))
    read_or_refuse(data.decode("utf-8", "surrogateescape"))
