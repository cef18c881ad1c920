"""Words that people bring: from PyTorch, Keras, the shell. After an error, the line to run instead.

Nothing here decides what cnnviz accepts. When a request was wrong, the words of the command line
are rewritten by the habits below; if the result reads as what the command takes, it is offered.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from cnnviz.errors import CnnvizError

ARROW = " -> "
LONGEST = 1000  # signs of a word that may be a habit's: longer ones a program has written
WITH_SPEC = ("pipeline", "explain", "shift", "compare", "animate")
CONVERTERS = {
    ".keras": "python -m tf2onnx.convert --keras {} --output {}",
    ".h5": "python -m tf2onnx.convert --keras {} --output {}",
    ".tflite": "python -m tf2onnx.convert --tflite {} --output {}",
}
OPTIONS = {
    "--window": "--kernel-size", "--pool-size": "--kernel-size", "--filter-size": "--kernel-size",
    "--strides": "--stride", "--pad": "--padding", "--output": "--out", "--outdir": "--out",
    "--input-shape": "--input", "--colour": "--color", "--cmap": "--colormap",
}  # fmt: skip
KERNELS = {"edge": "sobel", "edges": "sobel", "blur": "gaussian(5)", "gauss": "gaussian(5)"}


class Foreign(NamedTuple):
    """A layer of another framework: ours, its positional arguments by our names, its other words.

    An argument of the name "" has no counterpart here, such as PyTorch's number of input channels.
    """

    layer: str
    arguments: Sequence[str] = ()
    defaults: Mapping[str, str] = {}


WORDS = {
    "k": "kernel_size", "size": "kernel_size", "filter_size": "kernel_size", "ksize": "kernel_size",
    "pool_size": "kernel_size", "strides": "stride", "dilation_rate": "dilation", "pad": "padding",
    "out_channels": "filters", "out_features": "units", "use_bias": "bias", "scale_factor": "scale",
    "in_channels": "", "in_features": "", "inplace": "", "dim": "", "input_shape": "", "name": "",
    "data_format": "", "kernel_initializer": "", "num_features": "", "start_dim": "", "device": "",
}  # fmt: skip
"""Options by the names that other programs give them, and ours; "" for those to leave out."""

_LEAST = {"linear": 1, "conv2d": 2}  # arguments, without that of the inputs
_CONV = ("filters", "kernel_size", "stride", "padding")
_POOL = ("kernel_size", "stride", "padding")
FOREIGN: Mapping[str, Foreign] = {
    # PyTorch
    "conv2d": Foreign("conv", ("", *_CONV, "dilation", "groups", "bias")),
    "convtranspose2d": Foreign("conv_transpose", ("", *_CONV, "output_padding", "groups", "bias")),
    "maxpool2d": Foreign("maxpool", _POOL),
    "avgpool2d": Foreign("avgpool", _POOL),
    "adaptiveavgpool2d": Foreign("adaptive_avgpool", ("output_size",)),
    "adaptivemaxpool2d": Foreign("adaptive_maxpool", ("output_size",)),
    "batchnorm2d": Foreign("batchnorm", ("",)),
    "linear": Foreign("dense", ("", "units", "bias")),
    "upsample": Foreign("upsample", ("", "scale")),
    "zeropad2d": Foreign("pad", ("padding",)),
    "leakyrelu": Foreign("leaky_relu", ("negative_slope",)),
    "softmax": Foreign("softmax", ("",)),
    "logsoftmax": Foreign("log_softmax", ("",)),
    "identity": Foreign(""),
    # Keras, where the first argument is no number of input channels
    "keras.conv2d": Foreign("conv", _CONV),
    "depthwiseconv2d": Foreign("depthwise", ("kernel_size", "stride", "padding"), {"filters": "1"}),
    "conv2dtranspose": Foreign("conv_transpose", _CONV),
    "maxpooling2d": Foreign("maxpool", _POOL),
    "averagepooling2d": Foreign("avgpool", _POOL),
    "globalaveragepooling2d": Foreign("gap"),
    "globalmaxpooling2d": Foreign("global_maxpool"),
    "batchnormalization": Foreign("batchnorm"),
    "zeropadding2d": Foreign("pad", ("padding",)),
    "upsampling2d": Foreign("upsample", ("scale",)),
    # everyday words
    "fc": Foreign("dense", ("units",)),
    "fully_connected": Foreign("dense", ("units",)),
    "pooling": Foreign("maxpool", _POOL),
    "pool": Foreign("maxpool", _POOL),
    "convolution": Foreign("conv", _CONV),
    "convolve": Foreign("conv", _CONV),
}


def instead(words: Sequence[str]) -> str | None:
    """Return a line that runs in place of ``cnnviz WORDS…``, or what to do first; else None."""
    if not words or any(len(word) > LONGEST for word in words):
        return None
    for before, word in pairwise(words):
        if (ending := Path(word).suffix.lower()) in CONVERTERS:
            onnx = Path(word).with_suffix(".onnx").name
            return f"convert it first: {CONVERTERS[ending].format(shlex.quote(word), onnx)}"
        weights = before == "--weights" or word.startswith("-")
        if ending in (".pt", ".pth") and words[0] in (*WITH_SPEC, "shapes") and not weights:
            return (
                f"write its layers as SPEC and give it by --weights {shlex.quote(word)}, or write "
                "both with torch.onnx.export(model, x, 'model.onnx')"
            )
    for habit in (_no_command, _options, _kernel_words, _out_of_order, _unquoted, _spec_words):
        changed = habit(list(words))
        if changed is not None and changed != list(words):
            return f"run: cnnviz {shlex.join(changed)}"
    return None


def _no_command(words: list[str]) -> list[str] | None:
    """Take a picture alone for one to convolve."""
    return ["convolve", *words] if _picture(words[0]) else None


def _options(words: list[str]) -> list[str] | None:
    """Name options as cnnviz does."""
    names = {**OPTIONS, "--size": "--kernel-size"} if words[0] == "pool" else OPTIONS
    return [names.get(word, word) for word in words]


# --- kernels -----------------------------------------------------------------------------------


def _kernel_words(words: list[str]) -> list[str] | None:
    """Mend kernels of ``convolve``: ``-k kernel.csv``, ``-k edge``, a kernel among the pictures."""
    if words[0] != "convolve":
        return None
    changed = list(words)
    for index, word in enumerate(words[1:], start=1):
        before = words[index - 1]
        alone = word[:1].isalpha() and not before.startswith("-") and not _is_file(word)
        if (before in ("-k", "--kernel") or alone) and (mended := _kernel(word)):
            changed[index] = f"-k\0{mended}" if alone else mended
    return [part for word in changed for part in word.split("\0")]


def _kernel(text: str) -> str | None:
    """Return a text that is a kernel: itself, a file's, or the one that is probably meant."""
    from cnnviz.files.kernel_text import parse_kernels

    path = Path(text)
    if path.suffix.lower() in (".csv", ".txt", ".npy"):
        return f"@{text}" if _is_file(text) else None
    for candidate in (text, KERNELS.get(text.lower(), "")):
        if candidate and _reads(parse_kernels, candidate):
            return candidate
    return None


# --- order and quotes --------------------------------------------------------------------------


def _out_of_order(words: list[str]) -> list[str] | None:
    """Put a picture before the pipeline."""
    places = [i for i, word in enumerate(words) if i and not word.startswith("-")]
    if words[0] not in WITH_SPEC or len(places) < 2:
        return None
    first, second = places[:2]
    if _is_file(words[first]) or not _picture(words[second]) or not _spec(words[first]):
        return None
    changed = list(words)
    changed[first], changed[second] = words[second], _spec(words[first]) or ""
    return changed


def _picture(text: str) -> bool:
    return text == "-" or text.startswith("sample:") or _is_file(text)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a sign that none has
        return False


def _unquoted(words: list[str]) -> list[str] | None:
    """Join a pipeline without quotes, of which the shell took ``> NAME`` for a file to write."""
    if words[0] not in (*WITH_SPEC, "shapes") or "-" not in words[1:]:
        return None
    cut, file = words.index("-", 1), _stdout_file()
    options = next((i for i in range(cut + 1, len(words)) if words[i].startswith("-")), len(words))
    spec = _spec(ARROW.join([words[cut - 1], *([file] if file else []), *words[cut + 1 : options]]))
    return None if spec is None or not file else [*words[: cut - 1], spec, *words[options:]]


def _stdout_file() -> str | None:
    """Return the name of the file that standard output goes to, where the system says."""
    try:
        path = Path("/proc/self/fd/1").readlink()
    except OSError:
        return None
    return path.name if path.is_file() else None


# --- pipelines ---------------------------------------------------------------------------------


def _spec_words(words: list[str]) -> list[str] | None:
    """Mend each word that is meant as a pipeline."""
    if words[0] not in (*WITH_SPEC, "shapes"):
        return None
    changed = list(words)
    for index, word in enumerate(words[1:], start=1):
        if word.startswith("--") or _picture(word) or words[index - 1].startswith("-"):
            continue
        changed[index] = _spec(word) or word
    return changed


def _spec(text: str) -> str | None:
    """Return a text that is a pipeline: itself if it is one, or what is probably meant."""
    from cnnviz.files.spec import load_spec, parse

    if _reads(load_spec, text):
        return text
    try:
        mended = mended_pipeline(text)
    except RecursionError:  # of calls in calls in calls
        return None
    return mended if mended and _reads(parse, mended) else None


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except (CnnvizError, OSError, ValueError):
        return False
    return True


def mended_pipeline(text: str) -> str:
    """Write a pipeline of foreign words in ours.

    >>> mended_pipeline("nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))")
    'conv(64, 3, padding=1) -> relu -> maxpool(2)'
    >>> mended_pipeline('Conv2D(64, (3, 5), padding="same", activation="relu") | Flatten()')
    'conv(64, (3, 5), padding=same) -> relu -> flatten'
    >>> mended_pipeline("sobel - fc(10)")
    'conv(sobel) -> dense(10)'
    """
    text = re.sub(r"\s*(?:->|→|=>|>>|\||;|\n|(?<=[\w)])\s+[->]\s+(?=\w))\s*", ARROW, text.strip())
    text = re.sub(r"^[-\s>|]+|[-\s>|]+$", "", text)
    return ARROW.join(term for part in text.split(ARROW) for term in _terms(part))


def _terms(text: str) -> Iterator[str]:
    """Yield what one term, or a Sequential of several, is in our words."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield text  # files, fractions, names: ours, or past mending
        return
    if isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from _terms(ast.unparse(element))
        return
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    name = ast.unparse(call.func).split(".")[-1]
    if name.lower() == "sequential":
        for argument in call.args:
            yield from _terms(ast.unparse(argument))
        return
    if name.lower() == "activation" and call.args:
        yield _value(call.args[0]).lower()
        return
    yield from _mended(name, call)


def _mended(name: str, call: ast.Call) -> Iterator[str]:
    from cnnviz.core.layers import ALIASES, LAYERS

    foreign = FOREIGN.get(name.lower()) if name not in LAYERS or name == "pool" else None
    if name == "Conv2D":  # Keras' capital D
        foreign = FOREIGN["keras.conv2d"]
    if foreign is None and name.lower() in {*LAYERS, *ALIASES}:
        foreign = Foreign(name.lower())
    if foreign is None:
        kernel = _kernel(ast.unparse(call) if call.args or call.keywords else name)
        yield f"conv({kernel})" if kernel else ast.unparse(call)
        return
    # With one argument fewer there is no number of inputs: a word, or Keras' layer.
    sized = any(keyword.arg == "kernel_size" for keyword in call.keywords)
    few = len(call.args) == _LEAST.get(name.lower()) and not sized
    if foreign.arguments[:1] == ("",) and few:
        foreign = foreign._replace(arguments=foreign.arguments[1:])
    given, after = dict(foreign.defaults), list[str]()
    positional = [_value(argument) for argument in call.args]
    if foreign.arguments:
        given |= dict(zip(foreign.arguments, positional, strict=False))
        positional = []
    for keyword in call.keywords:
        key = WORDS.get(keyword.arg or "", keyword.arg or "")
        value = _value(keyword.value)
        if key == "activation":
            after = [] if value in ("None", "linear") else [value.lower()]
        else:
            given[key] = value.lower() if value in ("True", "False", "SAME", "VALID") else value
    given.pop("", None)
    written = list(positional)
    for key, value in given.items():
        plain = key in ("filters", "kernel_size", "units", "output_size", "scale", "negative_slope")
        unnamed = plain and len(written) == len([w for w in written if "=" not in w])
        written.append(value if unnamed else f"{key}={value}")
    if foreign.layer:
        yield f"{foreign.layer}({', '.join(written)})" if written else foreign.layer
    yield from after


def _value(node: ast.expr) -> str:
    """Write an argument in our language: strings as words."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node)
