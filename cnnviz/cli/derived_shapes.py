"""``cnnviz shapes --explain``: derivations on stdout; of what does not fit also what would."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnviz import __version__
from cnnviz.cli.options import TableOptions
from cnnviz.core.derivation import Attempt, attempt
from cnnviz.core.fixes import Fix, fixes
from cnnviz.core.layers.graph import Merge
from cnnviz.core.pipeline import INPUT, Pipeline
from cnnviz.core.text import layer_text
from cnnviz.core.types import Shape
from cnnviz.errors import RequestError
from cnnviz.view import records

LONGEST = 400
"""Characters of a command that are printed; of a longer one only the stages that change."""

if TYPE_CHECKING:
    from cnnviz.core.layers import Layer
    from cnnviz.files.spec import Spec
    from cnnviz.view.derived import DerivedStage


class _Answer(NamedTuple):
    """How far a pipeline gets, and what would bring it to its end."""

    spec: str  # as it was given
    pipeline: Pipeline
    shape: Shape
    attempt: Attempt
    fixes: list[Fix]
    weighted: bool  # weights come with it

    def command(self, fix: Fix) -> str:
        """Return the command line that shows a fix to fit; the spec as given if it is unchanged."""
        text = self.spec if fix.pipeline == self.pipeline else _readable(str(fix.pipeline))
        words = [shlex.quote(text), f"--input {'x'.join(map(str, fix.shape))}"]
        if text.startswith("-"):  # a file's name that would be taken for an option
            words = [words[1], "--", words[0]]
        return f"cnnviz shapes {' '.join(words)}"

    def terms(self, fix: Fix) -> list[str]:
        """Return the stages that a fix changes or adds, as they are then."""
        before = {node.name: node.layer for node in self.pipeline.nodes}
        return [
            f"{node.name}: {layer_text(node.layer)}"
            for node in fix.pipeline.nodes
            if (layer := before.get(node.name)) is None or _own(layer) != _own(node.layer)
        ]

    def remarks(self, *, shortened: bool) -> list[str]:
        """Return what there is to say of all commands; some are not there if `shortened`."""
        remarks = ["--format json has the whole pipelines"] if shortened else []
        if self.weighted and any(fix.pipeline != self.pipeline for fix in self.fixes):
            remarks.append(f"the weights that come with {self.spec} are not in a changed pipeline")
        return remarks


def _readable(text: str) -> str:
    """Return a pipeline's text so that the name of its last stage is not taken for a file's."""
    return f"{text} " if text.endswith((".toml", ".onnx")) else text


def _own(layer: Layer) -> str:
    """Return a layer without the stages it names, which other changes may rename."""
    return layer.name if isinstance(layer, Merge) else layer_text(layer)


def explain_shapes(text: str, spec: Spec, shape: Shape, table: TableOptions) -> None:
    """Print the derivation of every stage's shape for an input of `shape`.

    Raises
    ------
    RequestError
        If the table's options do not go with derivations.
    CnnvizError
        The error of the stage that does not fit, after all has been printed.
    """
    if table.columns is not None:
        raise RequestError(
            "--columns is given beside --explain", hint="derivations have no columns; leave it out"
        )
    if table.format not in _PRINTERS:
        raise RequestError(
            f"--explain has no form for --format {table.format}",
            hint=f"use {', '.join(_PRINTERS)}",
        )
    tried = attempt(spec.pipeline, shape, spec.params)
    found = fixes(spec.pipeline, shape, spec.params) if tried.error else []
    if _has_name(text):  # then that which keeps the pipeline has the shortest command
        found.sort(key=lambda fix: fix.pipeline != spec.pipeline)
    weighted = spec.params is not None or spec.input.weights is not None
    _PRINTERS[table.format](_Answer(text, spec.pipeline, shape, tried, found, weighted))
    if tried.error:
        raise tried.error


def _has_name(text: str) -> bool:
    """Whether a spec is a file or a bundled pipeline, not the pipeline's text itself."""
    from cnnviz.files.spec import bundled

    return text.endswith((".toml", ".onnx")) or text in bundled()


def _stages(answer: _Answer) -> list[DerivedStage]:
    """Return every stage that is derived, the one that does not fit last."""
    from cnnviz.view.derived import DerivedStage

    tried = answer.attempt
    derivations = [*tried.derivations, *([tried.failed] if tried.failed else [])]
    before, stages = INPUT, list[DerivedStage]()
    for index, (node, derivation) in enumerate(
        zip(answer.pipeline.nodes, derivations, strict=False), start=1
    ):
        stages.append(
            DerivedStage(
                index=index,
                name=node.name,
                text=layer_text(node.layer),
                inputs=[(name, tried.shapes[name]) for name in node.inputs],
                output=tried.shapes.get(node.name),
                derivation=derivation,
                follows=node.inputs == (before,),
            )
        )
        before = node.name
    return stages


def _print_text(answer: _Answer) -> None:
    from cnnviz.cli.console import PLAIN, printable, stdout
    from cnnviz.view.derived import DerivationView

    console = stdout()
    console.print(DerivationView(_stages(answer)), crop=False)
    if not answer.attempt.error:
        return
    heading = "What would fit" if answer.fixes else "No change was found that would fit"
    console.print()
    console.print(heading, style="bold")
    shortened = False
    for fix in answer.fixes:
        console.print(f"    {printable(fix.text)}", **PLAIN)
        lines = [answer.command(fix)]
        if len(lines[0]) > LONGEST:
            lines, shortened = answer.terms(fix), True
        for line in lines:  # not wrapped: a command is to be copied
            console.print(f"      {printable(line)}", style="dim", **PLAIN)
    for remark in answer.remarks(shortened=shortened):
        console.print(f"  {printable(remark)}", style="dim", **PLAIN)


def _print_markdown(answer: _Answer) -> None:
    from cnnviz.cli.printing import write
    from cnnviz.view.derived import markdown

    text = markdown(_stages(answer))
    if answer.fixes:
        listed = [f"- {fix.text}\n\n      {answer.command(fix)}\n" for fix in answer.fixes]
        text += "\n### What would fit\n\n" + "\n".join(listed)
        text += "".join(f"\n{remark}\n" for remark in answer.remarks(shortened=False))
    write(text)


def _print_json(answer: _Answer) -> None:
    from cnnviz.cli.printing import write
    from cnnviz.core.jsontext import json_text

    tried = answer.attempt
    stages = [
        {**records.stage_record(row), **records.derivation_record(derivation)}
        for row, derivation in zip(tried.rows, tried.derivations, strict=True)
    ]
    totals = None if tried.error else answer.pipeline.totals(answer.shape)
    record = records.document(
        __version__, None, answer.shape, None, str(answer.pipeline), stages, totals
    )
    if tried.error:
        record |= _failure(answer)
    write(json_text(record) + "\n")


def _failure(answer: _Answer) -> dict[str, Any]:
    """Return what JSON has of a stage that does not fit, and of the changes that would."""
    tried = answer.attempt
    assert tried.error  # noqa: S101 - for mypy
    assert tried.failed  # noqa: S101
    node = answer.pipeline.nodes[len(tried.rows)]
    return {
        "error": {
            "message": tried.error.message,
            "hint": tried.error.hint,
            "stage": len(tried.rows) + 1,
            "name": node.name,
            "input_shapes": [list(tried.shapes[name]) for name in node.inputs],
            "derivation": records.derivation_record(tried.failed)["derivation"],
            "fails": [line.text for line in tried.failed.lines if line.fails],
        },
        "fixes": [
            {
                "text": fix.text,
                "pipeline": str(fix.pipeline),
                "input": list(fix.shape),
                "command": answer.command(fix),
            }
            for fix in answer.fixes
        ],
    }


_PRINTERS = {"table": _print_text, "json": _print_json, "md": _print_markdown}
