"""``cnnviz shapes --explain``: derivations on stdout; of what does not fit also what would."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnviz import __version__
from cnnviz.cli.options import TableOptions
from cnnviz.core.attempt import Attempt, attempt
from cnnviz.core.fixes import Fix, fixes
from cnnviz.core.pipeline import INPUT, Pipeline
from cnnviz.core.text import layer_text
from cnnviz.core.types import Shape
from cnnviz.errors import RequestError
from cnnviz.view import records

if TYPE_CHECKING:
    from cnnviz.files.spec import Spec
    from cnnviz.view.derivation import DerivedStage


class _Answer(NamedTuple):
    """How far a pipeline gets, and what would bring it to its end."""

    spec: str  # as it was given
    pipeline: Pipeline
    shape: Shape
    attempt: Attempt
    fixes: list[Fix]

    def command(self, fix: Fix) -> str:
        """Return the command line that shows a fix to fit; the spec as given if it is unchanged."""
        text = self.spec if fix.pipeline == self.pipeline else str(fix.pipeline)
        return f"cnnviz shapes {shlex.quote(text)} --input {'x'.join(map(str, fix.shape))}"


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
    _PRINTERS[table.format](_Answer(text, spec.pipeline, shape, tried, found))
    if tried.error:
        raise tried.error


def _stages(answer: _Answer) -> list[DerivedStage]:
    """Return every stage that is derived, the one that does not fit last."""
    from cnnviz.view.derivation import DerivedStage

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
    from cnnviz.view.derivation import DerivationView

    console = stdout()
    console.print(DerivationView(_stages(answer)), crop=False)
    if not answer.attempt.error:
        return
    told = "What would fit" if answer.fixes else "No change was found that would fit"
    console.print()
    console.print(told, style="bold")
    for fix in answer.fixes:
        console.print(f"    {printable(fix.text)}", **PLAIN)
        # Not wrapped: it is to be copied.
        console.print(f"      {printable(answer.command(fix))}", style="dim", **PLAIN)


def _print_markdown(answer: _Answer) -> None:
    from cnnviz.cli.printing import write
    from cnnviz.view.derivation import markdown

    text = markdown(_stages(answer))
    if answer.fixes:
        listed = [f"- {fix.text}\n\n      {answer.command(fix)}\n" for fix in answer.fixes]
        text += "\n### What would fit\n\n" + "\n".join(listed)
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
