"""A pipeline: layers as a graph; shapes flow without pixels, and pixels flow once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from cnnviz.core.engine import noting
from cnnviz.core.field import Field
from cnnviz.core.layers import ParamSpec
from cnnviz.core.layers.base import Elementwise
from cnnviz.core.layers.graph import From, Merge
from cnnviz.core.losses import losses_of
from cnnviz.core.memory import Live, check_memory, peak_of
from cnnviz.core.node import INPUT, Names, Node, Term, as_input, between, read_on, seeded
from cnnviz.core.statistics import statistics_of
from cnnviz.core.text import json_settings, layer_text
from cnnviz.core.types import Computed, Params, Row, Samples, Shape, Stage, Tensor, Totals
from cnnviz.errors import CnnvizError, RequestError, unknown

__all__ = ["INPUT", "Node", "Pipeline", "Term", "as_input"]


@dataclass(frozen=True)
class Pipeline:
    """Nodes in an order in which each reads earlier ones only (or ``input``).

    >>> from cnnviz.core.layers import make_layer
    >>> pipeline = Pipeline.from_terms([Term(make_layer("relu")), Term(make_layer("maxpool", 2))])
    >>> [row.output_shape for row in pipeline.rows((3, 8, 6))]
    [(3, 8, 6), (3, 4, 3)]
    >>> print(pipeline)
    relu -> maxpool(2)
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise RequestError("the pipeline is empty", hint="write a layer, such as relu")
        seen = {INPUT}
        for node in self.nodes:
            if node.name in seen:
                taken = "stands for the image" if node.name == INPUT else "is taken"
                raise RequestError(f"stage name {node.name!r} {taken}", hint="choose another")
            for name in node.inputs:
                if name not in seen:
                    raise unknown(f"stage (read by {node.name})", name, seen)
            seen.add(node.name)

    @classmethod
    def from_terms(cls, terms: Iterable[Term]) -> Pipeline:
        """Build the graph from terms in the order they were written.

        Raises
        ------
        RequestError
            For a name that is unknown, comes later or is taken, and for a ``from`` that nothing
            follows or that is given a name.
        """
        terms = list(terms)
        later = Counter(term.name for term in terms if term.name)
        nodes, names = list[Node](), Names()
        current, steering = INPUT, False
        for term in terms:
            layer = term.layer
            named = tuple(names.resolve(name, later) for name in layer.references())
            if not layer.is_stage:
                if term.name:
                    raise RequestError(f"{layer_text(layer)} is not a stage and takes no name")
                current, steering = named[0], True
                continue
            if isinstance(layer, Merge):
                layer = replace(layer, stages=named)
            name = term.name or names.default(layer)
            later[name] -= 1
            names.add(name, layer)
            nodes.append(Node(name, layer, (current, *named)))
            current, steering = name, False
        if steering:
            raise RequestError("nothing follows the last from(…)", hint="add a layer after it")
        return cls(tuple(nodes))

    def terms(self) -> Iterator[Term]:
        """Yield the terms that build this pipeline again."""
        current, names = INPUT, Names()
        for node in self.nodes:
            if node.inputs[0] != current:
                yield Term(From(stage=node.inputs[0]))
            named = None if node.name == names.default(node.layer) else node.name
            yield Term(node.layer, named)
            names.add(node.name, node.layer)
            current = node.name

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        return " -> ".join(
            layer_text(term.layer) + (f" as {term.name}" if term.name else "")
            for term in self.terms()
        )

    def find(self, stage: str) -> int:
        """Return the position (0 for the first layer) of a stage, given by name or index."""
        if stage.isdecimal() and len(stage) < 10 and 1 <= int(stage) <= len(self.nodes):
            return int(stage) - 1
        for position, node in enumerate(self.nodes):
            if node.name == stage:
                return position
        if stage.isdecimal():
            raise RequestError(f"there is no stage {stage}", hint=f"1 to {len(self.nodes)} exist")
        raise unknown("stage", stage, [node.name for node in self.nodes])

    def without(self, maps: Mapping[str, Iterable[int]]) -> Pipeline:
        """Return the pipeline with some maps of some stages, by name or number, set to zero."""
        found = {self.find(stage): tuple(sorted(set(own))) for stage, own in maps.items()}
        return Pipeline(
            tuple(replace(node, muted=found.get(at, ())) for at, node in enumerate(self.nodes))
        )

    @property
    def muted(self) -> dict[str, list[int]]:
        """The maps that are set to zero, by stage."""
        return {node.name: list(node.muted) for node in self.nodes if node.muted}

    def below(self, path: str) -> list[str]:
        """Return the stages of a module by its path: ``layer1`` has ``layer1.0.conv1`` in it."""
        names = [node.name for node in self.nodes]
        found = [name for name in names if name == path or name.startswith(f"{path}.")]
        return found or [names[self.find(path)]]

    def rows(self, shape: Shape, params: Params | None = None) -> Iterator[Row]:
        """Yield what each stage promises for an input of `shape`, touching no pixel.

        Raises
        ------
        CnnvizError
            At the first stage that does not fit, naming it.
        """
        flow, shapes, rows = self._known.get(shape), {INPUT: shape}, list[Row]()
        for node, row in zip(self.nodes, flow or self._flow(shape), strict=True):
            given = [shapes[name] for name in node.inputs]
            shapes[node.name] = row.output_shape
            rows.append(row)
            if isinstance(params, dict):  # a file's are read one by one, when they are needed
                node.given(row.index, given, params)
            loaded = params is not None and any(
                f"{node.name}.{key}" in params for key in node.layer.param_shapes(*given)
            )
            yield replace(row, weights="loaded") if loaded else row
        self._known.clear()
        self._known[shape] = tuple(rows)

    @cached_property
    def _known(self) -> dict[Shape, tuple[Row, ...]]:
        """The rows of the last shape that flowed to the end: they are asked for again and again."""
        return {}

    @cached_property
    def _written(self) -> list[tuple[str, dict[str, object]]]:
        """Each layer as text and as JSON-ready settings: they do not depend on the shape."""
        return [(layer_text(node.layer), json_settings(node.layer)) for node in self.nodes]

    def _flow(self, shape: Shape) -> Iterator[Row]:
        """Work out row by row, without looking at weights."""
        shapes: dict[str, Shape] = {INPUT: shape}
        fields: dict[str, Field] = {INPUT: Field.of_input((shape[1], shape[2]))}
        nodes = zip(self.nodes, self._written, strict=True)
        for index, (node, (text, settings)) in enumerate(nodes, start=1):
            layer = node.layer
            given = tuple(shapes[name] for name in node.inputs)
            try:
                output = layer.output_shape(*given)
                node.check_muted(output)
                seen = [fields[name] for name in node.inputs]
                field = Field.after(seen, layer.reads(*given), output)
                window = layer.window(given[0])
                specs = layer.param_shapes(*given)
            except CnnvizError as error:
                raise error.within(f"stage {index} {node.name}") from None
            shapes[node.name], fields[node.name] = output, field
            yield Row(
                index=index,
                name=node.name,
                layer=layer.name,
                text=text,
                settings=settings,
                inputs=node.inputs,
                input_shape=given[0],
                output_shape=output,
                kernel_size=window.kernel_size if window else None,
                stride=window.stride if window else None,
                padding=window.pads((given[0][1], given[0][2])) if window else None,
                dilation=window.dilation if window else None,
                groups=layer.groups_for(given[0][0]),
                params=sum(prod(spec.shape) for spec in specs.values() if spec.trained),
                macs=layer.macs(*given),
                receptive_field=field.size,
                effective_stride=field.effective_stride,
                effective_padding=field.effective_padding,
                memory_bytes=4 * prod(output),
                weights=layer.weights_from if specs else None,
                contamination=layer.contamination(given[0]),
            )

    def map_names(self, of_input: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
        """Return the names of each stage's maps, such as those of kernels; () where unnamed."""
        names = {INPUT: of_input}
        for node in self.nodes:
            given = [names[name] for name in node.inputs]
            if isinstance(node.layer, Merge):  # its maps are alike but for where they come from
                given = [
                    tuple(f"{stage} {name}" for name in of_stage)
                    for stage, of_stage in zip(node.inputs, given, strict=True)
                ]
            names[node.name] = node.layer.map_names(*given)
        return names

    def totals(self, shape: Shape) -> Totals:
        """Return the sums over all stages for an input of `shape`."""
        rows = list(self.rows(shape))
        size = {INPUT: 4 * prod(shape)} | {row.name: row.memory_bytes for row in rows}
        return Totals(
            params=sum(row.params for row in rows),
            macs=sum(row.macs for row in rows),
            memory_bytes=sum(row.memory_bytes for row in rows),
            peak_bytes=peak_of(self.nodes, size),
        )

    def param_specs(self, shape: Shape) -> dict[str, ParamSpec]:
        """Return every parameter, ``STAGE.weight`` and the like, for an input of `shape`."""
        return {
            f"{node.name}.{name}": spec
            for node, given in self._input_shapes(shape)
            for name, spec in node.layer.param_shapes(*given).items()
        }

    def params(self, shape: Shape, params: Params | None = None, *, seed: int = 0) -> Params:
        """Return every parameter that `run` uses for an input of `shape`: given, chosen, drawn.

        With them as its `params` a run computes the same again, whatever the seed.

        Raises
        ------
        CnnvizError
            If a stage does not fit, or all parameters at once would not fit into memory.
        """
        check_memory(4 * sum(prod(spec.shape) for spec in self.param_specs(shape).values()))
        return {
            f"{node.name}.{name}": tensor
            for index, (node, given) in enumerate(self._input_shapes(shape), start=1)
            for name, tensor in node.params(index, given, params or {}, seed).items()
        }

    def _input_shapes(self, shape: Shape) -> Iterator[tuple[Node, list[Shape]]]:
        """Yield each node with the shapes of what it reads, for an input of `shape`."""
        shapes: dict[str, Shape] = {INPUT: shape}
        for node, row in zip(self.nodes, self.rows(shape), strict=True):
            yield node, [shapes[name] for name in node.inputs]
            shapes[node.name] = row.output_shape

    def run(
        self,
        x: Tensor | Samples,
        params: Params | None = None,
        *,
        seed: int = 0,
        reuse: bool = False,
        losses: bool = False,
    ) -> Iterator[Stage]:
        """Compute and yield one stage after another; each tensor goes after its last reader.

        Parameters
        ----------
        x : Tensor or Samples
            (C, H, W).
        params : Params, optional
            Weights by ``STAGE.name``; stages not in it use their own: chosen kernels, or filters
            drawn from `seed` and the stage's index.
        seed : int
            Any whole number from 0.
        reuse : bool
            Let a stage's memory serve later ones: an output is then to be read before the next
            stage is asked for.
        losses : bool
            Count dead maps and discarded values, too.

        Raises
        ------
        CnnvizError
            If a stage does not fit, or what is alive at once would not fit into memory.
        """
        flow = self.outputs(x, params, seed=seed, reuse=reuse, losses=losses)
        for row, output, algorithm, seconds, lost in flow:
            yield Stage(row, output, algorithm, statistics_of(output), seconds, lost)
            del output

    def forward(
        self, x: Tensor | Samples, params: Params | None = None, *, seed: int = 0
    ) -> Tensor:
        """Return the last stage's output alone: the others are let go of.

        Parameters and errors are those of `run`.
        """
        outputs = self.outputs(x, params, seed=seed, reuse=True)
        for _ in self.nodes[:-1]:
            next(outputs)
        return next(outputs).output

    def outputs(
        self,
        x: Tensor | Samples,
        params: Params | None = None,
        *,
        seed: int = 0,
        reuse: bool = False,
        losses: bool = False,
        kept: int = 0,
    ) -> Iterator[Computed]:
        """Compute and yield one stage after another, and look at no value.

        Parameters and errors are those of `run`; beside what is alive at once, the `kept` bytes
        that the caller holds must fit into memory, too.
        """
        x = as_input(x)
        rows = list(self.rows(x.shape, params))
        peak = self.totals(x.shape).peak_bytes + 4 * max(row.params for row in rows)
        check_memory(peak + kept)
        live = Live(x, self.nodes)
        for row, node in zip(rows, self.nodes, strict=True):
            inputs = [live.tensor(name, samples=node.layer.reads_samples) for name in node.inputs]
            shapes = [tensor.shape for tensor in inputs]
            own = node.params(row.index, shapes, params or {}, seed)
            in_place = reuse and isinstance(node.layer, Elementwise) and live.is_last(node)
            started = time.perf_counter()
            # NaN and infinities are values here, not accidents.
            with np.errstate(all="ignore"), noting() as algorithms:
                if in_place and isinstance(node.layer, Elementwise):
                    output = node.layer.apply(inputs[0], params=own, out=inputs[0])
                else:
                    output = node.layer.apply(*inputs, params=own)
            output = node.mute(output)
            seconds = time.perf_counter() - started
            # What is discarded is a pooling's, with its input as it was: only others work in place.
            lost = losses_of(node.layer, inputs[0], output) if losses else None
            del inputs, own
            live.add(node, output)
            yield Computed(row, output, ", ".join(algorithms) or None, seconds, lost)
            del output

    def computed(
        self,
        x: Tensor | Samples,
        names: Collection[str],
        params: Params | None = None,
        *,
        seed: int = 0,
    ) -> dict[str, Tensor]:
        """Return the outputs of some stages, or of ``input``, having run to the last of them.

        Parameters and errors are those of `run`.
        """
        found = {INPUT: x.tensor() if isinstance(x, Samples) else x} if INPUT in names else {}
        wanted = {node.name for node in self.nodes} & set(names)
        if not wanted:
            return found
        kept = sum(row.memory_bytes for row in self.rows(x.shape) if row.name in wanted)
        for row, output, *_ in self.outputs(x, params, seed=seed, kept=kept):
            if row.name in wanted:
                found[row.name] = output
            if wanted <= found.keys():
                break
        return found

    def backward(
        self,
        x: Tensor | Samples,
        stage: str,
        gradient: Tensor | tuple[int, ...],
        params: Params | None = None,
        *,
        to: str = INPUT,
        seed: int = 0,
        held: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Carry a gradient from a stage back to an earlier one, or to the image.

        Parameters
        ----------
        x : Tensor or Samples
            (C, H, W).
        stage : str
            Where the gradient starts: a stage's name or number.
        gradient : Tensor or tuple of int
            How much a number changes with each value of that stage, of its output's shape; or the
            values that add up to that number: a cell ``(c, row, column)``, a map ``(c,)``, or all,
            ``()``.
        params, seed
            As for `run`.
        to : str
            Where it is carried: an earlier stage's name or number, or ``input``.
        held : Mapping, optional
            The outputs of what lies `between`, and is read there, where they are computed.

        Returns
        -------
        Tensor
            How much the number changes with each value there: 0 where it does not depend on it.

        Raises
        ------
        RequestError
            If there is no such stage.
        CnnvizError
            If the pipeline or the gradient does not fit, or the outputs do not fit into memory.
        """
        x, last = as_input(x), self.find(stage)
        to = to if to == INPUT else self.nodes[self.find(to)].name
        shapes = {INPUT: x.shape} | {row.name: row.output_shape for row in self.rows(x.shape)}
        start = self.nodes[last].name
        found = {start: seeded(gradient, start, shapes[start])}
        path = between(self.nodes, to, start)
        if held is None:
            held = self.computed(x, read_on(path), params, seed=seed)
        kept = {to, *(node.name for _, node in path)}
        for index, node in reversed(path):
            own = found.pop(node.name, None)
            if own is None:
                continue
            own = node.mute(own)
            inputs = [held[name] for name in node.inputs]
            given = node.params(index, [one.shape for one in inputs], params or {}, seed)
            with np.errstate(all="ignore"), noting():
                back = node.layer.backward(own, held[node.name], *inputs, params=given)
            for name, part in zip(node.inputs, back, strict=True):
                if name in kept:
                    found[name] = found[name] + part if name in found else part
        return found.get(to, np.zeros(shapes[to], np.float32))
