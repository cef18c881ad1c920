"""What every command shares at the door: grouped options in, errors out.

A command takes dataclasses of options (see `cli.options`) as parameters; `command` spreads their
fields into flags, so that a group of options is declared once however many commands have it.
Errors are caught here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from cnnviz.cli import process
from cnnviz.cli.console import note, tell_error
from cnnviz.cli.shells import with_shell
from cnnviz.errors import SPELLED, CnnvizError, RequestError

if TYPE_CHECKING:
    from cnnviz.cli.options import ComputeOptions


class App(typer.Typer):
    """The program: streams that take any sign, and every error as one message in one style."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the command line and exit."""
        _ready_streams()
        try:
            words = with_shell(args[0] if args else sys.argv[1:])
            code = super().__call__(words, *args[1:], standalone_mode=False, **options)
        except Exception as error:
            code = _told(error)
            if code is None:
                raise
        sys.exit(code if isinstance(code, int) else 0)


def _told(error: Exception) -> int | None:
    """Print an error that ends the program as one message; return its code, None for a bug's."""
    if text := process.exhausted(error):
        sys.stderr.write(text)
        return 1
    if isinstance(error, CnnvizError):  # of reading an option
        return _refuse(error)
    if isinstance(error, OSError):  # Typer prints help and the version itself
        tell_error(_unwritable(error))
        _leave_stdout()
        return 1
    if not hasattr(error, "format_message"):  # Typer's vendored click: a usage error
        return None
    return _refuse(RequestError(_sentence(error.format_message()), hint=_way_out(error)))


def _refuse(error: CnnvizError) -> int:
    """Print an error, with the line to run instead where a habit explains it; return its code."""
    from cnnviz.cli.habits import instead

    if line := instead(sys.argv[1:]):
        error = RequestError(error.message, hint=line)
    tell_error(error)
    return error.exit_code


def _sentence(text: str) -> str:
    """Return a usage error in our style: no capital letter, no full stop."""
    text = text.rstrip(".")
    return text[:1].lower() + text[1:]


def _way_out(error: Any) -> str:
    path = error.ctx.command_path if getattr(error, "ctx", None) else "cnnviz"
    return f"{path} --help shows what it takes"


def _ready_streams() -> None:
    """Have signs that a terminal cannot show respelled."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED)


def _leave_stdout() -> None:
    """Have what is still to be written, at the latest when Python ends, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritable(error: OSError) -> CnnvizError:
    return CnnvizError(f"cannot write the output: {error.strerror or error}")


def command(function: Callable[..., int | None], *, every: bool = False) -> Callable[..., None]:
    """Make a function a command: spread its option groups, end it with the right exit code.

    Help shows what a group's SHOWN names; `every` option is shown by ``--help-all``, and if asked.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[Any], list[str]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if not dataclasses.is_dataclass(hint):
            parameters.append(parameter.replace(annotation=hint))
            continue
        kind: Any = hint
        inner = get_type_hints(kind, include_extras=True)
        fields = dataclasses.fields(kind)
        groups[parameter.name] = (kind, [field.name for field in fields])
        for field in fields:
            shown = every or field.name in getattr(kind, "SHOWN", inner)
            missing = field.default is dataclasses.MISSING
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=inspect.Parameter.empty if missing else field.default,
                    annotation=inner[field.name] if shown else _hidden(inner[field.name]),
                )
            )
    parameters.append(HELP_ALL)

    def run(**values: Any) -> None:
        del values[HELP_ALL.name]
        for name, (kind, fields) in groups.items():
            values[name] = kind(**{field: values.pop(field) for field in fields})
        raise typer.Exit(_guarded(function, values))

    ordered = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]  # Typer reads it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    run.__doc__, run.__name__ = function.__doc__, function.__name__
    return run


def _hidden(annotation: Any) -> Any:
    """Return an option that works, but is not in the help."""
    option = copy(annotation.__metadata__[0])
    option.hidden = True
    return Annotated[annotation.__origin__, option]


def _help_all(context: typer.Context, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    hidden = [parameter for parameter in context.command.params if parameter.hidden]  # type: ignore[attr-defined]
    for parameter in hidden:
        parameter.hidden = False  # type: ignore[attr-defined]
    try:
        typer.echo(context.get_help(), nl=False)
    finally:
        for parameter in hidden:
            parameter.hidden = True  # type: ignore[attr-defined]
    raise typer.Exit


HELP_ALL = inspect.Parameter(
    "help_all",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--help-all", callback=_help_all, is_eager=True, help="Show every option and exit."
        ),
    ],
)


def _guarded(function: Callable[..., int | None], values: dict[str, Any]) -> int:
    """Run a command and return its exit code; every error becomes one message."""
    try:
        code = function(**values) or 0
        sys.stdout.flush()
    except CnnvizError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        note("interrupted")
        return 130
    except process.Ended as end:
        note("terminated")
        return end.exit_code
    return code


@contextmanager
def working(compute: ComputeOptions) -> Iterator[None]:
    """Have everything inside computed as the options say; RequestError if they say nonsense."""
    from cnnviz.core.engine import check_algorithm, computing
    from cnnviz.core.threads import set_threads

    process.start_work()
    set_threads(compute.threads)
    check_algorithm(compute.algorithm)
    with computing(compute.precision, compute.algorithm):
        yield
