"""Where on the picture a value comes from: class activation maps, gradients, occlusion.

Each map is an answer to a question of its own: what the maps before global average pooling add to
a score (`cam`, exact), which maps and where a score leans on (`gradcam`), how it changes with each
pixel (`gradient`), what is lost where a patch is covered (`occlusion`). `faithfulness` tells
whether covering what a map points at costs more than covering what a random one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import numpy as np

from cnnviz.core.layers.base import Identity, Rearrangement, make_layer
from cnnviz.core.layers.convolution import Convolution
from cnnviz.core.layers.dense import Dense
from cnnviz.core.layers.graph import Merge
from cnnviz.core.layers.normalization import BatchNorm
from cnnviz.core.node import Node, between, read_on
from cnnviz.core.pipeline import INPUT, Pipeline, as_input
from cnnviz.core.types import Pair, Params, Samples, Shape, Tensor
from cnnviz.errors import CnnvizError, RequestError

METHODS = ("cam", "gradcam", "gradient", "occlusion")

_SHARES = ("softmax", "log_softmax")
_AVERAGES = ("global_avgpool", "adaptive_avgpool", "avgpool", "reduce")
_AFFINE = (Convolution, Dense, BatchNorm, Identity, Rearrangement)
_JOINS = ("add", "concat")

Wrap = Callable[[Sequence[tuple[int, int]]], Iterator[tuple[int, int]]]
"""What goes through the places a patch covers, in order, and may show how far it is."""


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where a score comes from.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    reason : str
        What the map is, and why it was chosen.
    scored, at : str, tuple of int
        The stage and the cell of the score that is explained: of a softmax what enters it.
    stage : str
        The stage whose cells the map's cells are, or ``input``.
    values : Tensor
        (1, rows, columns); of `gradient` one plane for each plane of the input.
    value : float
        The score.
    bias : float, optional
        With `cam`: what is added to the map's mean.
    patches : (Pair, Pair), optional
        With `occlusion`: rows and columns of the patch that a cell stands for, and of its steps.
    """

    method: str
    reason: str
    scored: str
    at: tuple[int, ...]
    stage: str
    values: Tensor
    value: float
    bias: float | None = None
    patches: tuple[Pair, Pair] | None = None

    @property
    def signed(self) -> bool:
        """Whether values below 0 have a meaning: they speak against the score."""
        return self.method != "gradcam"

    @property
    def joined(self) -> Tensor:
        """The map as one plane: several, those of a colour picture, are added up."""
        return np.asarray(self.values.sum(axis=0), np.float32)

    def over(self, size: Pair) -> Tensor:
        """Return the joined map over a picture of `size`: stretched, or each patch in its place.

        Pixels under several patches have their mean.
        """
        if self.patches is None:
            return stretched(self.joined, size)
        (rows, columns), (down, across) = self.patches
        total, count = np.zeros(size), np.zeros(size)
        for (row, column), lost in np.ndenumerate(self.joined):
            top, left = row * down, column * across
            total[top : top + rows, left : left + columns] += lost
            count[top : top + rows, left : left + columns] += 1
        return (total / np.maximum(count, 1)).astype(np.float32)


def stretched(plane: Tensor, size: Pair) -> Tensor:
    """Return a plane stretched over a picture of `size`, bilinearly."""
    if plane.shape == size:
        return plane
    layer = make_layer("resize", size=size, mode="bilinear")
    (made,) = layer.apply(plane[np.newaxis], params={})
    return np.asarray(made)


def score_of(pipeline: Pipeline, stage: str, cell: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Return the score that a value stands for: of a softmax's share, what enters it there."""
    node = pipeline.nodes[pipeline.find(stage)]
    return (node.inputs[0], cell) if node.layer.name in _SHARES else (node.name, cell)


def heatmap(
    pipeline: Pipeline,
    x: Tensor | Samples,
    stage: str,
    cell: tuple[int, ...],
    params: Params | None = None,
    *,
    method: str = "auto",
    on: str | None = None,
    times_input: bool = False,
    patch: Pair | None = None,
    stride: Pair | None = None,
    seed: int = 0,
    wrap: Wrap = iter,
) -> Heatmap:
    """Return where on the picture one value comes from.

    Parameters
    ----------
    pipeline : Pipeline
    x : Tensor or Samples
        (C, H, W).
    stage, cell : str, tuple of int
        The value: a stage by name or number, and (channel, row, column) or (index,). Of a softmax
        the score that enters it is explained.
    params, seed
        As for `Pipeline.run`.
    method : str
        One of `METHODS`, or ``auto``: `cam` where it is exact, else `gradcam`; `gradient` of one
        place of a map.
    on : str, optional
        With `gradcam`: the stage whose maps are weighed; by default the last one with rows and
        columns that the score reads.
    times_input : bool
        With `gradient`: multiply each pixel's gradient by the pixel.
    patch, stride : Pair, optional
        With `occlusion`: rows and columns of the patch, by default an eighth of the shorter side,
        and of its steps, by default half of the patch.
    wrap : callable
        With `occlusion`: goes through the places, to show how far it is.

    Raises
    ------
    RequestError
        If there is no such stage, cell or method, or `cam` is not exact for this pipeline.
    CnnvizError
        If the pipeline does not fit.
    """
    if method not in ("auto", *METHODS):
        raise RequestError(f"unknown heatmap {method!r}", hint=f"choose from {', '.join(METHODS)}")
    x = as_input(x)
    task = _Task(pipeline, x, *score_of(pipeline, stage, cell), params or {}, seed)
    if method in ("auto", "cam"):
        averaged = task.averaged()
        if averaged is not None:
            return task.cam(averaged)
        if method == "cam":
            raise RequestError(
                f"cam: no global average pooling leads linearly to {task.stage}",
                hint="--heatmap gradcam weighs the maps by their gradients instead",
            )
    if method == "gradcam" or (method == "auto" and not task.local):
        maps = task.maps_stage() if on is None else task.chosen(on)
        if maps is not None:
            why = f"no global average pooling leads linearly to {task.stage}: "
            return task.gradcam(maps, why if method == "auto" else "")
        if method == "gradcam":
            raise RequestError(
                f"gradcam: {task.stage} reads no stage with rows and columns",
                hint="--heatmap gradient goes back to the picture itself",
            )
    if method == "occlusion":
        return task.occlusion(patch, stride, wrap)
    why = ""
    if method == "auto":
        one = "is one place of a map" if task.local else "reads no stage with rows and columns"
        why = f"{task.stage} {one}: "
    return task.gradient(why, times_input=times_input)


class _Task(NamedTuple):
    """A score of a pipeline on one picture."""

    pipeline: Pipeline
    x: Tensor | Samples
    stage: str
    cell: tuple[int, ...]
    params: Params
    seed: int

    @property
    def shapes(self) -> dict[str, Shape]:
        rows = self.pipeline.rows(self.x.shape)
        return {INPUT: self.x.shape} | {row.name: row.output_shape for row in rows}

    @property
    def local(self) -> bool:
        """Whether the score is one place of a map, and looks at its surroundings alone."""
        return prod(self.shapes[self.stage][1:]) > 1

    def on_way(self, to: str) -> list[tuple[int, Node]]:
        """Return the stages between an earlier one and the score."""
        return between(self.pipeline.nodes, to, self.stage)

    def held(self, first: str, *more: str) -> dict[str, Tensor]:
        """Return the outputs on the way from a stage to the score, and more."""
        wanted = read_on(self.on_way(first)) | {first, self.stage, *more}
        return self.pipeline.computed(self.x, wanted, self.params, seed=self.seed)

    def gradient_at(self, to: str, held: Mapping[str, Tensor]) -> Tensor:
        """Return how much the score changes with each value of an earlier stage."""
        return self.pipeline.backward(
            self.x, self.stage, self.cell, self.params, to=to, seed=self.seed, held=held
        )

    # --- class activation maps

    def averaged(self) -> Node | None:
        """Return the last global average pooling from which all ways to the score are linear."""
        shapes = self.shapes
        for node in reversed(self.pipeline.nodes):
            if not _averages_all(node, shapes):
                continue
            path = self.on_way(node.name)
            reached = {node.name, *(one.name for _, one in path)}
            if self.stage in reached and all(
                (isinstance(one.layer, _AFFINE) or one.layer.name in _JOINS)
                and reached.issuperset(one.inputs)
                for _, one in path
            ):
                return node
        return None

    def cam(self, averaged: Node) -> Heatmap:
        """Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016."""
        held = self.held(averaged.name, averaged.inputs[0])
        maps = held[averaged.inputs[0]]
        weights = self.gradient_at(averaged.name, held).reshape(-1).astype(np.float64)
        joined = np.tensordot(weights, maps.astype(np.float64), 1)[np.newaxis]
        shape = held[averaged.name].shape
        return Heatmap(
            "cam",
            f"exact, for {averaged.name} averages the maps of {averaged.inputs[0]}, and from there "
            f"to {self.stage} all is linear",
            self.stage,
            self.cell,
            averaged.inputs[0],
            joined.astype(np.float32),
            float(held[self.stage][self.cell]),
            float(self._run(averaged.name, np.zeros(shape, np.float32))[self.cell]),
        )

    def _run(self, first: str, values: Tensor) -> Tensor:
        """Return the score's stage if an earlier one's output were `values`."""
        outputs = {first: values}
        for index, node in self.on_way(first):
            given = [outputs[name] for name in node.inputs]
            shapes = [one.shape for one in given]
            own = node.params(index, shapes, self.params, self.seed)
            outputs[node.name] = node.mute(node.layer.apply(*given, params=own))
        return outputs[self.stage]

    # --- gradients

    def maps_stage(self) -> str | None:
        """Return the last stage with rows and columns that the score reads, or is a value of."""
        shapes = self.shapes
        earlier = self.pipeline.nodes[: self.pipeline.find(self.stage)]
        for node in reversed(earlier):
            shape = shapes[node.name]
            if len(shape) == 3 and prod(shape[1:]) > 1 and self.on_way(node.name):
                return node.name
        return None

    def chosen(self, on: str) -> str:
        """Return a stage by name or number; RequestError unless the score reads maps of it."""
        name = self.pipeline.nodes[self.pipeline.find(on)].name
        shape = self.shapes[name]
        if len(shape) != 3 or prod(shape[1:]) == 1 or not self.on_way(name):
            raise RequestError(
                f"--on {on}: {self.stage} reads no rows and columns of {name}",
                hint=f"--on {self.maps_stage() or 'STAGE'} is the last that can be drawn",
            )
        return name

    def gradcam(self, maps: str, why: str) -> Heatmap:
        """Selvaraju et al., "Grad-CAM", ICCV 2017: maps by their gradients' means, above 0."""
        held = self.held(maps)
        weights = self.gradient_at(maps, held).mean(axis=(1, 2), dtype=np.float64)
        joined = np.tensordot(weights, held[maps].astype(np.float64), 1)[np.newaxis]
        return Heatmap(
            "gradcam",
            f"{why}the maps of {maps}, each by the mean of its gradient, where they add up to more "
            "than 0",
            self.stage,
            self.cell,
            maps,
            np.maximum(joined, 0).astype(np.float32),
            float(held[self.stage][self.cell]),
        )

    def gradient(self, why: str, *, times_input: bool) -> Heatmap:
        """Simonyan, Vedaldi & Zisserman, "Deep Inside Convolutional Networks", 2014, signed."""
        held = self.held(INPUT)
        values = self.gradient_at(INPUT, held)
        reason = f"{why}how much {self.stage} changes with each value of the picture"
        if times_input:
            values = values * held[INPUT]
            reason += ", times that value"
        value = float(held[self.stage][self.cell])
        return Heatmap("gradient", reason, self.stage, self.cell, INPUT, values, value)

    # --- occlusion

    def score(self, x: Tensor | Samples) -> float:
        """Return the score of a picture."""
        held = self.pipeline.computed(x, {self.stage}, self.params, seed=self.seed)
        return float(held[self.stage][self.cell])

    def occlusion(self, patch: Pair | None, stride: Pair | None, wrap: Wrap) -> Heatmap:
        """Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014."""
        x = self.x.tensor() if isinstance(self.x, Samples) else self.x
        side = max(1, min(x.shape[1:]) // 8)
        rows, columns = patch or (side, side)
        if rows >= x.shape[1] and columns >= x.shape[2]:
            raise CnnvizError(
                f"a patch of {rows}×{columns} covers the whole picture of "
                f"{x.shape[1]}×{x.shape[2]}",
                hint="give a smaller --patch",
            )
        down, across = stride or (max(1, rows // 2), max(1, columns // 2))
        mean, whole = x.mean(axis=(1, 2), dtype=np.float64), self.score(x)
        counts = [
            1 + max(0, -(-(length - size) // step))
            for length, size, step in zip(x.shape[1:], (rows, columns), (down, across), strict=True)
        ]
        lost = np.zeros((1, *counts), np.float32)
        for row, column in wrap([(row, column) for row, column in np.ndindex(*counts)]):
            covered = x.copy()
            top, left = row * down, column * across
            covered[:, top : top + rows, left : left + columns] = mean.reshape(-1, 1, 1)
            lost[0, row, column] = whole - self.score(covered)
        reason = (
            f"what {self.stage} loses where a patch of {rows}×{columns} of the picture's mean "
            f"covers it, in steps of {down}×{across}"
        )
        patches = ((rows, columns), (down, across))
        return Heatmap(
            "occlusion", reason, self.stage, self.cell, INPUT, lost, whole, patches=patches
        )


def _averages_all(node: Node, shapes: Mapping[str, Shape]) -> bool:
    """Whether a stage is the mean of all rows and columns of each map."""
    if node.layer.name not in _AVERAGES or isinstance(node.layer, Merge):
        return False
    given, made = shapes[node.inputs[0]], shapes[node.name]
    if len(given) != 3 or made[0] != given[0] or prod(made[1:]) != 1 or prod(given[1:]) == 1:
        return False
    ones = np.ones(given, np.float32)[:1]
    (back,) = node.layer.backward(
        np.ones((1, *made[1:]), np.float32), np.ones((1, *made[1:]), np.float32), ones, params={}
    )
    return bool(np.allclose(back, 1 / prod(given[1:])))


# --- whether it deserves trust -------------------------------------------------------------------

STEPS = 20


class Curve(NamedTuple):
    """How a score goes as pixels are covered, or uncovered, in a map's order and in any order."""

    shares: tuple[float, ...]  # of the pixels, from 0 to 1
    scores: tuple[float, ...]
    random: tuple[float, ...]

    def area(self, scores: Sequence[float]) -> float:
        """Return the mean of a curve over the shares, by the trapezoidal rule."""
        return float(np.trapezoid(scores, self.shares))


def faithfulness(
    pipeline: Pipeline,
    x: Tensor | Samples,
    stage: str,
    cell: tuple[int, ...],
    found: Heatmap,
    params: Params | None = None,
    *,
    seed: int = 0,
    wrap: Callable[[Sequence[int]], Iterator[int]] = iter,
) -> tuple[Curve, Curve]:
    """Return the deletion and the insertion curve of a map.

    Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation", BMVC 2018: pixels are
    covered with the picture's mean, or uncovered from it, those first at which the map is largest.
    The value followed is that of `stage` at `cell` itself, so of a softmax the probability. A map
    deserves trust if deletion falls, and insertion rises, sooner than with a map of the same size
    whose values are drawn from `seed`.
    """
    image = as_input(x)
    image = image.tensor() if isinstance(image, Samples) else image
    name = pipeline.nodes[pipeline.find(stage)].name
    size = (image.shape[1], image.shape[2])
    mean = image.mean(axis=(1, 2), dtype=np.float64).astype(np.float32).reshape(-1, 1, 1)
    drawn = np.random.default_rng(seed).random(found.values.shape, np.float32)
    heats = {"map": found, "random": replace(found, values=drawn)}
    orders = {
        name: np.argsort(-np.nan_to_num(heat.over(size), nan=-np.inf), axis=None, kind="stable")
        for name, heat in heats.items()
    }
    pixels = size[0] * size[1]
    counts = [round(pixels * step / STEPS) for step in range(STEPS + 1)]
    curves: dict[tuple[str, str], list[float]] = {}
    rounds = [(way, order, count) for way in ("out", "in") for order in orders for count in counts]
    for number in wrap(range(len(rounds))):
        way, order, count = rounds[number]
        chosen = np.zeros(pixels, np.bool_)
        chosen[orders[order][:count]] = True
        shown = chosen.reshape(size) if way == "in" else ~chosen.reshape(size)
        made = pipeline.computed(np.where(shown, image, mean), {name}, params, seed=seed)
        curves.setdefault((way, order), []).append(float(made[name][cell]))
    shares = tuple(count / pixels for count in counts)
    deletion, insertion = (
        Curve(shares, tuple(curves[way, "map"]), tuple(curves[way, "random"]))
        for way in ("out", "in")
    )
    return deletion, insertion
