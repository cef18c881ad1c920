"""An explanation in words and numbers, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from cnnviz.core.arithmetic import Arithmetic, Terms, cell_text, written
from cnnviz.core.explanation import Box, Explanation
from cnnviz.core.types import Shape
from cnnviz.errors import safe
from cnnviz.view.columns import finite
from cnnviz.view.terminal import aligned, aligned_cells, writer_for

LARGEST_WINDOW = 7  # rows and columns of a window with cells written as they lie


# --- for programs ------------------------------------------------------------------------------


def explanation_record(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON has it; NaN and infinities are null."""
    arithmetic, terms = explanation.arithmetic, explanation.arithmetic.terms
    return {
        "stage": explanation.row.name,
        "index": explanation.row.index,
        "layer": explanation.row.layer,
        "settings": explanation.row.text,
        "inputs": list(explanation.inputs),
        "at": list(explanation.at),
        "result": finite(explanation.result),
        "join": arithmetic.join,
        "bias": finite(arithmetic.bias),
        "total": finite(arithmetic.total),
        "steps": list(arithmetic.steps),
        "kernel_size": None if arithmetic.kernel_size is None else list(arithmetic.kernel_size),
        "chosen": arithmetic.chosen,
        "terms": [_term(explanation, terms, index) for index in range(len(terms))],
        "omitted": {"count": terms.omitted, "part": finite(terms.omitted_part)},
        "receptive_field": box_record(explanation.field),
    }


def _term(explanation: Explanation, terms: Terms, index: int) -> dict[str, Any]:
    return {
        "input": explanation.inputs[int(terms.source[index])],
        "at": [int(i) for i in terms.at[index]] if terms.real[index] else None,
        "place": None if terms.place is None else [int(i) for i in terms.place[index]],
        "value": finite(float(terms.value[index])),
        "weight": None if terms.weight is None else finite(float(terms.weight[index])),
        "part": finite(float(terms.part[index])),
        "padding": bool(terms.padding[index]),
    }


def term_rows(record: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    """Yield an explanation's terms as CSV has them."""
    keys = ["input", "at", "place", "value", "weight", "part", "padding"]
    yield keys
    for term in record["terms"]:
        cells = [term[key] for key in keys]
        yield [",".join(map(str, cell)) if isinstance(cell, list) else cell for cell in cells]


def box_record(box: Box) -> dict[str, Any]:
    """Return a box as JSON has it: the first and the last row and column, null where none is."""
    return {
        "rows": None if box.rows is None else list(box.rows),
        "columns": None if box.columns is None else list(box.columns),
        "size": list(box.size),
    }


# --- for people --------------------------------------------------------------------------------


def title(explanation: Explanation) -> str:
    """Return which value it is: ``conv1 at 0,2,3``."""
    return f"{explanation.row.name} at {cell_text(explanation.at)}"


def field_text(box: Box, shape: Shape) -> str:
    """Say what a value sees of an input of `shape`."""
    if box.rows is None or box.columns is None:
        return "sees no pixel of the input, only padding"
    size = "×".join(map(str, box.size))
    if box.size == tuple(shape[1:]):
        return f"sees the whole input, {size} pixels"
    spans = ((box.rows, "row"), (box.columns, "column"))
    rows, columns = (
        f"{what} {first}" if first == last else f"{what}s {first} to {last}"
        for (first, last), what in spans
    )
    pixels = "pixel" if box.size == (1, 1) else "pixels"
    return f"sees {rows}, {columns} of the input: {size} {pixels}"


def explanation_lines(
    explanation: Explanation, shape: Shape, *, width: int | None, most: int = 8
) -> Iterator[Text]:
    """Write an explanation, line by line.

    Parameters
    ----------
    explanation : Explanation
    shape : Shape
        The pipeline input's.
    width : int, optional
        Columns of the terminal, in which blocks of numbers are to stand side by side.
    most : int
        Terms that are listed, at most, and channels of a window that are written out.
    """
    arithmetic = explanation.arithmetic
    yield _line(f"{title(explanation)} = {written(explanation.result)}", "bold")
    yield _line(f"  {explanation.row.text}", "dim")
    blocks = WindowBlocks.of(arithmetic)
    if blocks is not None and max(blocks.value.shape[1:]) <= LARGEST_WINDOW:
        yield from _window_lines(explanation, blocks, width, max(1, most // 3))
    elif len(arithmetic.terms) > 1 or arithmetic.terms.weight is not None:
        yield from _term_lines(explanation, most)
    else:
        yield from _single_line(explanation)
    yield from _join_lines(arithmetic)
    yield _line(f"  {field_text(explanation.field, shape)}")


def _line(text: str, style: str = "") -> Text:
    return Text(safe(text), style, no_wrap=True, overflow="ignore")


class WindowBlocks(NamedTuple):
    """The terms of a window as they lie in it: every array is (channels, rows, columns)."""

    channels: list[int]
    value: NDArray[np.float64]
    part: NDArray[np.float64]
    weight: NDArray[np.float64] | None
    padding: NDArray[np.bool_]

    @property
    def sums(self) -> NDArray[np.float64]:
        """What each channel brings to the total."""
        with np.errstate(all="ignore"):
            return np.asarray(self.part.sum(axis=(1, 2)))

    @property
    def order(self) -> NDArray[np.intp]:
        """The channels' places, those that bring most first."""
        return np.argsort(-np.nan_to_num(np.abs(self.sums), nan=np.inf), kind="stable")

    @classmethod
    def of(cls, arithmetic: Arithmetic) -> WindowBlocks | None:
        """Return the terms' blocks; None where no window slides."""
        terms = arithmetic.terms
        if terms.place is None or not len(terms):
            return None
        rows, columns = (len(np.unique(terms.place[:, axis])) for axis in (0, 1))
        shape = (-1, rows, columns)
        return cls(
            [int(channel) for channel in terms.at[:: rows * columns, 0]],
            terms.value.reshape(shape),
            terms.part.reshape(shape),
            None if terms.weight is None else terms.weight.reshape(shape),
            terms.padding.reshape(shape),
        )


def _window_lines(
    explanation: Explanation, blocks: WindowBlocks, width: int | None, most: int
) -> Iterator[Text]:
    """Write the cells of a window as they lie, the channels that bring most first."""
    sums, order = blocks.sums, blocks.order
    chosen = explanation.arithmetic.chosen
    for place in order[:most]:
        winner = None if chosen is None else chosen - place * blocks.value[0].size
        if len(order) > 1:
            yield _line(f"  channel {blocks.channels[place]}: {written(sums[place])}")
        patch = _block(blocks.value[place], blocks.padding[place], winner)
        parts = [("window", patch)]
        if blocks.weight is not None:
            parts += [
                ("kernel", _block(blocks.weight[place])),
                ("products", _block(blocks.part[place])),
            ]
        if blocks.weight is not None and blocks.part[place].size > 1:
            above = (len(blocks.part[place]) - 1) // 2  # beside the middle row
            parts.append(("sum", [""] * above + [written(sums[place])]))
        yield from _side_by_side(parts, width)
    rest = order[most:]
    if rest.size:
        noun = "channels" if rest.size > 1 else "channel"
        yield _line(f"  … and {rest.size:,} more {noun}: {written(sums[rest].sum())}")
    marks = ["[ ] padding"] if blocks.padding[order[:most]].any() else []
    marks += ["* the one chosen"] if chosen is not None else []
    if marks:
        yield _line(f"  {', '.join(marks)}", "dim")


def _block(
    values: NDArray[np.float64],
    padding: NDArray[np.bool_] | None = None,
    winner: int | None = None,
) -> list[str]:
    """Write numbers as they lie, padding in brackets and the winner with a star."""
    write = writer_for(values)
    cells = aligned_cells([[write(float(value)) for value in row] for row in values])
    opens = padding is not None and bool(padding.any())
    closes = opens or winner is not None
    lines = []
    for i, row in enumerate(cells):
        marked = []
        for j, cell in enumerate(row):
            padded = padding is not None and bool(padding[i, j])
            before = "[" if padded else " " * opens
            after = "]" if padded else "*" if i * len(row) + j == winner else " " * closes
            text = cell.strip()
            marked.append(cell.replace(text, f"{before}{text}{after}"))
        lines.append(" ".join(marked).rstrip().replace("-", "−"))
    return lines


def _side_by_side(blocks: Sequence[tuple[str, list[str]]], width: int | None) -> Iterator[Text]:
    """Write blocks of lines beside one another, or below where they do not fit."""
    wide = [max(len(name), *map(len, lines)) for name, lines in blocks]
    signs = ["", " × ", " = ", " = "]
    if width is not None and sum(wide) + 4 + 3 * (len(blocks) - 1) > width and len(blocks) > 1:
        for name, lines in blocks:
            yield _line(f"    {name}", "dim")
            yield from (_line(f"    {line}") for line in lines if line)
        return
    if len(blocks) > 1:
        heads = (name.ljust(space + 3) for (name, _), space in zip(blocks, wide, strict=True))
        yield _line(f"    {''.join(heads).rstrip()}", "dim")
    count = len(blocks[0][1])
    for row in range(count):
        cells = []
        for (_, lines), space, sign in zip(blocks, wide, signs, strict=False):
            cells.append(sign if row == (count - 1) // 2 else " " * len(sign))
            cells.append((lines[row] if row < len(lines) else "").ljust(space))
        yield _line(f"    {''.join(cells).rstrip()}")


def _term_lines(explanation: Explanation, most: int) -> Iterator[Text]:
    """List the terms that count most."""
    arithmetic, terms = explanation.arithmetic, explanation.arithmetic.terms
    key = {"largest": -terms.part, "smallest": terms.part}.get(
        arithmetic.join, -np.nan_to_num(np.abs(terms.part), nan=np.inf)
    )
    order = list(np.argsort(key, kind="stable"))
    if arithmetic.chosen is not None:
        order.remove(arithmetic.chosen)
        order.insert(0, arithmetic.chosen)
    shown = order[:most]
    yield from _listed(explanation, shown)
    if arithmetic.chosen is not None:
        yield _line(
            "    * the one chosen" if arithmetic.join != "sum" else "    * this value", "dim"
        )
    left = len(order) - len(shown) + terms.omitted
    if left:
        about = ""
        if arithmetic.join == "sum":
            rest = float(terms.part[order[most:]].sum() + terms.omitted_part)
            about = f": {written(rest)}"
        yield _line(f"    … and {left:,} more{about}")


def _listed(explanation: Explanation, shown: Sequence[int]) -> Iterator[Text]:
    """Write some terms as a table: the cell, its value and weight, and what that brings."""
    terms, chosen = explanation.arithmetic.terms, explanation.arithmetic.chosen
    weighted, made = terms.weight is not None, bool((terms.part != terms.value).any())
    sign = "=" if weighted else "→"
    noun = explanation.arithmetic.noun.replace("products", "product").replace("nentials", "nential")
    brings = noun if noun != "values" else "what it brings"
    head = ["cell, value", *["× weight"] * weighted, *[f"{sign} {brings}"] * made]
    cells, numbers = list[str](), list[list[str]]()
    for index in shown:
        cell = cell_text(terms.at[index]) if terms.real[index] else "padding"
        if len(explanation.inputs) > 1:
            cell = f"{explanation.inputs[int(terms.source[index])]} {cell}"
        cells.append(cell + "*" * bool(index == chosen))
        row = [written(terms.value[index])]
        if terms.weight is not None:
            row += ["×", written(terms.weight[index])]
        numbers.append([*row, *[sign, written(terms.part[index])] * made])
    if cells:
        yield _line(f"    {' '.join(head)}", "dim")
        wide = max(map(len, cells))
        for cell, line in zip(cells, aligned(numbers), strict=True):
            yield _line(f"    {cell.ljust(wide)}  {line}")


def _single_line(explanation: Explanation) -> Iterator[Text]:
    terms = explanation.arithmetic.terms
    for index in range(len(terms)):
        name = explanation.inputs[int(terms.source[index])]
        cell = f"{name} at {cell_text(terms.at[index])}" if terms.real[index] else "padding"
        yield _line(f"    {cell} is {written(terms.value[index])}")


def _join_lines(arithmetic: Arithmetic) -> Iterator[Text]:
    """Say how the terms make the total, and that the result."""
    terms = arithmetic.terms
    count = len(terms) + terms.omitted
    alone = count == 1 and arithmetic.steps  # which are the whole formula
    if arithmetic.join in ("sum", "product") and (
        count > 1 or (arithmetic.bias is not None and not alone)
    ):
        noun = arithmetic.noun if count > 1 else arithmetic.noun.removesuffix("s")
        text = f"  {arithmetic.join} of {count:,} {noun}"
        if arithmetic.bias is not None:
            text += (
                f" {written(arithmetic.total - arithmetic.bias)} + bias {written(arithmetic.bias)}"
            )
        yield _line(f"{text} = {written(arithmetic.total)}")
    for step in arithmetic.steps:
        yield _line(f"  {step}")
