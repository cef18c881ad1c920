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
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from cnnviz.cli import process
from cnnviz.cli.console import note, tell_error
from cnnviz.errors import CnnvizError

if TYPE_CHECKING:
    from cnnviz.cli.options import ComputeOptions


class App(typer.Typer):
    """The program. Its streams take any sign; that help cannot be written is told like the rest."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the command line."""
        _ready_streams()
        try:
            return super().__call__(*args, **options)
        except OSError as error:  # Typer prints help and the version itself
            tell_error(_unwritable(error))
            _leave_stdout()
            sys.exit(1)


def _ready_streams() -> None:
    """Have signs that a terminal does not know replaced; streams that are closed go nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open till the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _leave_stdout() -> None:
    """Have what is still to be written, at the latest when Python ends, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritable(error: OSError) -> CnnvizError:
    return CnnvizError(f"cannot write the output: {error.strerror or error}")


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Make a function a command: spread its option groups, end it with the right exit code."""
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
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default
                if field.default is not dataclasses.MISSING
                else inspect.Parameter.empty,
                annotation=inner[field.name],
            )
            for field in fields
        ]

    def run(**values: Any) -> None:
        for name, (kind, fields) in groups.items():
            values[name] = kind(**{field: values.pop(field) for field in fields})
        raise typer.Exit(_guarded(function, values))

    ordered = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]  # Typer reads it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    run.__doc__, run.__name__ = function.__doc__, function.__name__
    return run


def _guarded(function: Callable[..., int | None], values: dict[str, Any]) -> int:
    """Run a command and return its exit code; every error becomes one message."""
    try:
        code = function(**values) or 0
        sys.stdout.flush()
    except CnnvizError as error:
        tell_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        note("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has had enough (head, less): that is no error of ours.
        _leave_stdout()
        return 0
    except MemoryError:
        tell_error(CnnvizError("not enough memory", hint="resize the image with --resize"))
        return 1
    except OSError as error:
        tell_error(_unwritable(error))
        return 1
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
