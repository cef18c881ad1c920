"""SPEC: pipeline text, a bundled name, a .toml or .onnx file -> a Pipeline, how to feed it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnviz.core.layers import LAYERS, KernelGroup, Layer, find_layer, make_layer
from cnnviz.core.layers.convolution import Convolution
from cnnviz.core.layers.kernel_groups import are_kernels
from cnnviz.core.pipeline import Pipeline, Term
from cnnviz.core.types import Params, Shape
from cnnviz.errors import CnnvizError, RequestError, unknown
from cnnviz.files.kernel_text import kernels_of_call, parse_kernels
from cnnviz.files.language import Call, parse_pipeline, parse_size
from cnnviz.files.matrices import read_bounded
from cnnviz.files.preparation import COLORS, FITS, INVERSIONS
from cnnviz.files.samples import PACKAGE, located

if TYPE_CHECKING:
    from cnnviz.files.onnx import Model

LARGEST_FILE = 1_000_000  # bytes of labels
LARGEST_TOML = 250_000  # bytes
DEEPEST = 200  # dots before a line's =, so that one line of a long pipeline may have many

BUNDLE = Path(__file__).parents[1] / "pipelines"
"""The folder of the bundled pipelines and their weights."""


@dataclass(frozen=True)
class InputSettings:
    """How a pipeline wants its image: ``[input]`` of a .toml file. None: as the user says."""

    color: str | None = None
    size: tuple[int, int] | None = None  # rows, columns
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None
    weights: str | None = None  # a path
    crop: tuple[int, int] | None = None  # rows, columns
    fit: str | None = None
    invert: str | None = None
    input_range: float | None = None

    @property
    def shape(self) -> Shape | None:
        """The shape every picture is given; None if it depends on the picture."""
        if self.fit in FITS:
            return FITS[self.fit].shape
        size = self.crop or self.size
        return (len(COLORS[self.color or "gray"]), *size) if size else None


@dataclass(frozen=True)
class Spec:
    """A pipeline, the name it goes by and the settings that came with it."""

    pipeline: Pipeline
    name: str
    input: InputSettings = field(default_factory=InputSettings)
    params: Params | None = None  # weights that came with the pipeline
    channels: int | None = None  # that its input must have; None: any
    notes: tuple[str, ...] = ()  # what was left out, or chosen, in reading it
    build: Callable[[Shape], Spec] | None = None  # where the layers depend on the input's shape

    def fitted(self, shape: Shape) -> Spec:
        """Return the spec for an input of `shape`: a model of open size is built for that size.

        Raises
        ------
        CnnvizError
            If it takes another number of channels, or its layers do not fit the size.
        """
        if self.channels is not None and shape[0] != self.channels:
            raise CnnvizError(
                f"{self.name} takes {self.channels} channels, the input has {shape[0]}",
                hint="--color gray gives 1, --color rgb 3; a .npy of (C, H, W) may have any number",
            )
        return self if self.build is None else self.build(shape)

    def without(self, maps: Mapping[str, Iterable[int]]) -> Spec:
        """Return the spec with some maps of some stages set to zero, whatever its input."""
        build, muted = self.build, self.pipeline.without(maps)
        later = None if build is None else lambda shape: build(shape).without(maps)
        return replace(self, pipeline=muted, build=later)


def load_spec(text: str, *, allow_outside: bool = False) -> Spec:
    """Read SPEC: a file if it ends in .toml or .onnx, else a bundled pipeline's name, else text.

    A .toml file may name files beside it only, or in folders there, unless `allow_outside`.

    Raises
    ------
    RequestError
        If the text or the file's content is not a pipeline.
    CnnvizError
        If the file cannot be read.
    """
    if text.endswith(".toml"):
        return _from_toml(Path(text), text, outside=allow_outside)
    if text.endswith(".onnx"):
        return _from_onnx(text)
    if text in bundled():
        return _from_toml(BUNDLE / f"{text}.toml", text)
    return Spec(parse(text), "pipeline", notes=doubts(text))


def bundled() -> list[str]:
    """Return the names of the pipelines that come with cnnviz."""
    return sorted(file.stem for file in BUNDLE.glob("*.toml"))


Finder = Callable[[str], str]
"""From a file's name, as a pipeline has it, to its path."""


def parse(text: str, find: Finder = str) -> Pipeline:
    """Read a pipeline's text; ``str(pipeline)`` writes it. `find` says where ``@file`` lies.

    >>> print(parse("conv(sobel_x, padding=SAME_UPPER) as edges->relu  # strong edges"))
    conv(sobel_x, padding=same) as edges -> relu
    """
    terms = parse_pipeline(text)
    if not terms:
        raise RequestError("the pipeline has no layer", hint="write one, such as relu")
    if len(terms) == 1 and terms[0].call.text == terms[0].call.name:
        _check_single_word(terms[0].call.name)
    return Pipeline.from_terms([Term(layer_of(term.call, find), term.name) for term in terms])


def doubts(text: str) -> tuple[str, ...]:
    """Return how convolutions were read that probably count channels first, as PyTorch does.

    >>> doubts("conv(3, 64, 3) -> conv(64, 7, 2)")
    ('conv(3, 64, 3) is 3 filters of 64×64 at stride 3; Conv2d(3, 64, 3) is conv(64, 3) here',)
    """
    found = []
    for call in (term.call for term in parse_pipeline(text)):
        match call.values[:3]:
            case (int() as filters, int() as size, int() as stride) if (
                call.name == "conv"
                and size > stride > 1
                and stride % 2
                and (size >= 16 or filters in (1, 3))
            ):
                written = f"{filters}, {size}, {stride}"
                found.append(
                    f"conv({written}) is {filters} filters of {size}×{size} at stride {stride}; "
                    f"Conv2d({written}) is conv({size}, {stride}) here"
                )
    return tuple(found)


def _check_single_word(name: str) -> None:
    """Name bundled pipelines too when a lone word is neither one of them nor a layer."""
    try:
        find_layer(name)
    except RequestError:
        raise unknown(
            "layer or bundled pipeline",
            name,
            [*LAYERS, *bundled()],
            see=f"cnnviz layers lists the layers; bundled: {', '.join(bundled())}",
        ) from None


def layer_of(call: Call, find: Finder = str) -> Layer:
    """Return the layer a call describes; kernels among its arguments are looked up."""
    values, settings = call.values, dict(call.settings)
    if issubclass(find_layer(call.name), Convolution):
        if values and are_kernels(values[0]):
            values = _kernels(values, call, find)
        filters = settings.get("filters", 0)
        if are_kernels(filters):
            chosen = filters if isinstance(filters, tuple) else (filters,)
            settings["filters"] = _kernels(chosen, call, find)
    for value in (*values, *settings.values()):
        if isinstance(value, Call):
            raise RequestError(f"{call.name}: {value.text} cannot be an argument here")
    return make_layer(call.name, *values, **settings)


def _kernels(values: Sequence[Any], call: Call, find: Finder) -> tuple[KernelGroup, ...]:
    groups = []
    for value in values:
        if isinstance(value, Call):
            groups.append(kernels_of_call(value))
        elif isinstance(value, str):
            file = value.strip().startswith("@")
            groups.append(parse_kernels(f"@{find(value.strip()[1:])}" if file else value))
        else:
            raise RequestError(
                f"{call.text}: {value} stands among kernels",
                hint="after kernels, give settings by name: stride=2",
            )
    return tuple(groups)


def read_labels(path: Path) -> tuple[str, ...]:
    """Return one label a line of a file or sample, blank lines at the end left out."""
    lines = _read(Path(located(str(path)))).rstrip().splitlines()
    if not lines:
        raise CnnvizError(f"{path} holds no labels", hint="write one label a line")
    return tuple(line.strip() for line in lines)


def _read(path: Path, most: int = LARGEST_FILE) -> str:
    try:
        return read_bounded(path, most, str(path)).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CnnvizError(f"{path} is not UTF-8 text") from None


def _from_toml(path: Path, place: str, *, outside: bool = False) -> Spec:
    text = _read(path, LARGEST_TOML)
    if any(_dots(line) > DEEPEST for line in text.splitlines()):
        raise RequestError(
            f"{place} has keys of more than {DEEPEST} parts", hint="keys are pipeline and input"
        )
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number without end
        raise RequestError(f"{place} is not TOML: {error}") from None
    except MemoryError:
        raise CnnvizError(f"{place} does not fit in memory") from None
    for key in document:
        if key not in ("pipeline", "input"):
            raise unknown(f"key of {place}", key, ["pipeline", "input"])
    written = document.get("pipeline")
    if isinstance(written, list) and all(isinstance(term, str) for term in written):
        written = "\n".join(written)
    if not isinstance(written, str):
        raise RequestError(
            f"{place} has no pipeline", hint='add pipeline = "conv(8) -> relu" or a list of terms'
        )
    find = partial(_found, path.parent, place, outside)
    try:
        pipeline = parse(written, find)
    except CnnvizError as error:
        raise error.within(place) from None
    settings = _input_settings(document.get("input", {}), place, find)
    return Spec(pipeline, path.stem, settings, notes=doubts(written))


def _found(folder: Path, place: str, outside: bool, name: str) -> str:
    """Return the path of a file that a .toml names."""
    if folder == BUNDLE and name.startswith(PACKAGE):
        return name
    found = folder / name
    try:
        beside = outside or found.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # no name of a file: reading it will say why
        beside = True
    if not beside:
        raise RequestError(
            f"{place} names {name}, which does not lie beside it",
            hint="if you trust the file, --allow-outside reads what it names anywhere",
        )
    return str(found)


def _dots(line: str) -> int:
    """Count the dots of a line's key, or, where it holds tables of its own, all of them.

    Each part of a key becomes a table for every key that begins with it: what a megabyte of them
    takes grows with the square.
    """
    key, _, value = line.partition("=")
    return (line if "{" in value and "=" in value else key).count(".")


def _from_onnx(path: str) -> Spec:
    from cnnviz.files.onnx import load_onnx

    return _of_model(load_onnx(path), Path(path).stem)


def _of_model(model: Model, name: str) -> Spec:
    color, fitted, notes = {1: "gray", 3: "rgb"}.get(model.channels or 0), model.fitted, model.notes
    if model.largest is not None:
        notes = (*notes, f"its input is stored samples, 0 to {model.largest:g}: fed as such")
    return Spec(
        model.pipeline,
        name,
        InputSettings(color=color, size=model.size, input_range=model.largest),
        model.params,
        model.channels,
        notes,
        None if fitted is None else lambda shape: _of_model(fitted(shape), name),
    )


def _input_settings(table: Any, place: str, find: Finder) -> InputSettings:
    where = f"{place}: [input]"
    if not isinstance(table, Mapping):
        raise RequestError(f"{where} is not a table")
    readers: dict[str, Callable[[Any, str], Any]] = {
        "color": lambda value, key: _one_of(COLORS, value, key),
        "size": _size,
        "crop": _size,
        "fit": lambda value, key: _one_of(("none", *FITS), value, key),
        "invert": lambda value, key: _one_of(INVERSIONS, value, key),
        "input_range": _number,
        "mean": _numbers,
        "std": _numbers,
        "labels": lambda value, key: _labels(value, key, find),
        "weights": lambda value, key: _weights(value, key, find),
    }
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if key not in readers:
            raise unknown(f"key of {where}", key, readers)
        try:
            settings[key] = readers[key](value, f"{where} {key}")
        except (ValueError, OverflowError) as error:  # a number too long to print or to convert
            raise RequestError(f"{where} {key}: {error}") from None
    return InputSettings(**settings)


def _one_of(choices: Collection[str], value: Any, key: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise unknown(key, str(value), choices)
    return value


def _size(value: Any, key: str) -> tuple[int, int]:
    if isinstance(value, list):
        value = "x".join(map(str, value))
    return parse_size(str(value), key)


def _numbers(value: Any, key: str) -> tuple[float, ...]:
    return tuple(_number(one, key) for one in (value if isinstance(value, list) else [value]))


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RequestError(f"{key}: {value!r} is not a number")
    return float(value)


def _labels(value: Any, key: str, find: Finder) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(label) for label in value)
    if isinstance(value, str):
        return read_labels(Path(find(value)))
    raise RequestError(f"{key} must be a list of names or a file's name")


def _weights(value: Any, key: str, find: Finder) -> str:
    if isinstance(value, str):
        return find(value)
    raise RequestError(f"{key} must be a file's name")
