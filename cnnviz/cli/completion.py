"""Completion: what may follow the words of a line (see `cli.shells` for who asks).

Names come from the reference in ``cnnviz/docs``, written from the registries: reading it takes no
NumPy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from cnnviz.errors import CnnvizError
from cnnviz.files.samples import PREFIX, sample_records

DOCS = Path(__file__).parents[1] / "docs"

# --- the line ------------------------------------------------------------------------------------


def answer(arguments: Sequence[str]) -> str:
    """Return what a script is told: `arguments` are the line, and in bash what ends its words.

    Bash ends words also at ``:`` and ``=``, and replaces only what stands behind them.
    """
    line, breaks = arguments[0], arguments[1] if len(arguments) > 1 else ""
    words, current, quote = split(line)
    files, found = candidates(words[1:], current)
    known = 0 if quote else max((current.rfind(sign) + 1 for sign in breaks), default=0)
    lines = [f"{value[known:]}\t{about}".rstrip("\t") for value, about in found]
    return "\n".join(["files" if files else "words", *lines])


def split(line: str) -> tuple[list[str], str, str]:
    r"""Return a line's words, its last one, which is being typed, and the quote open in that.

    >>> split("cnnviz pipeline 'a b.png' \"conv(sob")
    (['cnnviz', 'pipeline', 'a b.png'], 'conv(sob', '"')
    >>> split("cnnviz pool ")
    (['cnnviz', 'pool'], '', '')
    """
    words, quote, escaped = [""], "", False
    started = False  # a quoted word may be empty
    for sign in line:
        if escaped:
            words[-1] += sign
            escaped = False
        elif sign == "\\" and quote != "'":
            escaped = started = True
        elif quote and sign == quote:
            quote = ""
        elif not quote and sign in "'\"":
            quote, started = sign, True
        elif sign.isspace() and not quote:
            if words[-1] or started:
                words.append("")
            started = False
        else:
            words[-1] += sign
    return words[:-1], words[-1], quote


Found = list[tuple[str, str]]
"""Candidates, each with what it is."""


def candidates(words: Sequence[str], current: str) -> tuple[bool, Found]:
    """Return whether a path may stand in place of `current`, and what else may."""
    from cnnviz.cli.app import COMMANDS, make_app

    name = words[0] if words else ""
    group: Any = typer.main.get_command(make_app([name] if name in COMMANDS else ["help"]))
    if name not in COMMANDS:
        found = _flags(group) if current.startswith("-") else [(name, "") for name in COMMANDS]
        return False, _beginning(found, current)
    command = group.commands[name]
    options = {
        flag: parameter
        for parameter in command.params
        for flag in parameter.opts
        if parameter.param_type_name == "option"
    }
    positional = list[str]()
    waiting: Any = None  # the option of which the value comes next
    for word in words[1:]:
        if waiting is None and word in options:
            waiting = None if options[word].is_flag else options[word]
        elif waiting is not None:
            waiting = None
        elif not word.startswith("--"):
            positional.append(word)
    flag, equals, value = current.partition("=")
    if waiting is None and equals and flag in options:
        files, found = _values(options[flag], command, positional, value)
        return files, [(f"{flag}={one}", about) for one, about in found]
    if waiting is None and current.startswith("-"):
        return False, _beginning(_flags(command), current)
    if waiting is None:
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        if not arguments:
            return False, []
        waiting = arguments[min(len(positional), len(arguments) - 1)]
    return _values(waiting, command, positional, current)


def _flags(command: Any) -> Found:
    flags = [
        (flag, " ".join(parameter.help.split()))
        for parameter in command.params
        for flag in parameter.opts
        if parameter.param_type_name == "option" and flag.startswith("--")
    ]
    return [*flags, ("--help", "Show this message and exit.")]


def _beginning(found: Found, text: str) -> Found:
    return [one for one in found if one[0].startswith(text)]


def _values(
    parameter: Any, command: Any, positional: Sequence[str], text: str
) -> tuple[bool, Found]:
    """Return whether a parameter's value may be a path, and what else it may be."""
    name = parameter.name
    if name == "name":
        return False, _beginning(kernels() if command.name == "kernels" else layers(), text)
    if name == "kernel":
        return text.startswith("@"), _beginning(kernels(), text)
    if name in ("image", "images"):
        found = _beginning(samples(), text.lower())
        if positional and "SPEC" in (parameter.metavar or ""):
            found += specs(text)
        return not text.lower().startswith(PREFIX), found
    if name in ("spec", "specs", "spec_a", "spec_b", "against"):
        return True, specs(text)
    if name in ("stage", "stages", "at") and positional:
        before, comma, last = text.rpartition(",") if name == "stages" else ("", "", text)
        found = [(f"{before}{comma}{stage}", about) for stage, about in stages(positional[-1])]
        return False, _beginning(found, before + comma + last)
    with command.make_context(command.name, [], resilient_parsing=True) as context:
        items = [(item.value, item.help or "") for item in parameter.shell_complete(context, text)]
    return not items, items


# --- names ---------------------------------------------------------------------------------------


def samples() -> Found:
    """Return the samples, with what they show."""
    return [(record["sample"], record["what it shows"]) for record in sample_records()]


def kernels() -> Found:
    """Return the kernels, banks and families, with what they show."""
    table = (DOCS / "kernels.md").read_text("utf-8").partition("<!-- table: kernels -->")[2]
    rows = re.findall(r"^\| (\w+)[^|]* \| [^|]+ \| ([^|]+) \|", table, re.MULTILINE)
    return [(name, about) for name, about in rows if name != "kernel"]


def layers() -> Found:
    """Return the layers and their other names, with what they do."""
    text = (DOCS / "layers.md").read_text("utf-8")
    chapters = re.findall(r"^### (`.*)\n\n(.*)\.$", text, re.MULTILINE)
    return [(name, about) for names, about in chapters for name in re.findall(r"`(\w+)`", names)]


def specs(text: str) -> Found:
    """Return what may stand for a pipeline of which `text` is typed: its last term completed.

    >>> specs("conv(sobel_x) -> softm")[0][0]
    'conv(sobel_x) -> softmax'
    >>> specs("conv(freichen_1, sobel_")[0][0]
    'conv(freichen_1, sobel_x'
    """
    before = "".join(re.findall(r"\A.*(?:->|→|\n)\s*", text, re.DOTALL))
    last = text.removeprefix(before)
    inside = re.fullmatch(r"((?:conv|depthwise)\((?:.*,)?\s*)(\w*)", last)
    if inside:
        before, last, names = before + inside[1], inside[2], kernels()
    else:
        names = [*([] if before else _bundled()), *layers()]
    return [(before + name, about) for name, about in names if name.startswith(last)]


def _bundled() -> Iterator[tuple[str, str]]:
    text = (DOCS / "pipelines.md").read_text("utf-8").partition("<!-- table: pipelines -->")[2]
    yield from re.findall(r"^\| `(\w+)` \| .* \| ([^|]+) \|$", text, re.MULTILINE)


def stages(spec: str) -> Found:
    """Return the stages of a pipeline, with their layers; none if it cannot be read."""
    from cnnviz.files.spec import load_spec

    try:
        return [(node.name, node.layer.name) for node in load_spec(spec).pipeline.nodes]
    except CnnvizError:
        return []
