"""Completion: what is offered, and that shells take it, on a pseudo terminal."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cnnviz
from cnnviz.cli.completion import answer, candidates, kernels, layers, specs, stages
from cnnviz.cli.shells import ASKED, SHELLS
from cnnviz.core.layers import ALIASES
from cnnviz.files.samples import sample_files
from cnnviz.files.spec import bundled
from tests.cli.conftest import Run, refused

SPEC = "conv(sobel) as edges -> relu -> maxpool(2)"


def test_names_are_those_of_the_registries() -> None:
    assert [name for name, _ in kernels()] == list(cnnviz.KERNELS)
    assert {name for name, _ in layers()} == {*cnnviz.LAYERS, *ALIASES}
    offered = [name for name, _ in specs("")]
    assert offered == [*bundled(), *(name for name, _ in layers())]
    assert all(about for _, about in (*kernels(), *layers(), *specs("")))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cnnviz s", ["shapes", "shift", "samples"]),
        ("cnnviz --vers", ["--version"]),
        ("cnnviz help inp", ["input"]),
        ("cnnviz pool --kern", ["--kernel-size"]),
        ("cnnviz pool --mode ma", ["max"]),
        ("cnnviz pool sample:coffee --mode=ma", ["--mode=max"]),
        ("cnnviz pool --help-", ["--help-all"]),
        ("cnnviz convolve x.png -k sobel_5_", ["sobel_5_x", "sobel_5_y"]),
        ("cnnviz convolve --save n", ["npy"]),
        ("cnnviz kernels unsh", ["unsharp"]),
        ("cnnviz layers log_", ["log_softmax"]),
        ("cnnviz convolve sample:co", ["sample:coffee"]),
        ("cnnviz convolve SAMPLE:CO", ["sample:coffee"]),
        ("cnnviz convolve -q x.png sample:co", ["sample:coffee"]),
        ("cnnviz shapes alex", ["alexnet"]),
        ("cnnviz pipeline x.png alex", ["alexnet"]),
        ("cnnviz compare x.png relu 'relu -> log_", ["relu -> log_softmax"]),
        ('cnnviz explain x.png "conv(freichen_9, kirsch_ne', ["conv(freichen_9, kirsch_ne"]),
        (f"cnnviz explain x.png '{SPEC}' --at ", ["edges", "relu1", "maxpool1"]),
        (f"cnnviz animate x.png '{SPEC}' --stage m", ["maxpool1"]),
        (f"cnnviz pipeline x.png '{SPEC}' --stages edges,r", ["edges,relu1"]),
        ("cnnviz explain x.png 'conv(' --at ", []),
        ("cnnviz samples ", []),
    ],
)
def test_what_may_follow(line: str, offered: list[str]) -> None:
    _, *lines = answer([line]).split("\n")
    assert [one.split("\t")[0] for one in lines] == offered


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("cnnviz pool ", "files"),
        ("cnnviz pool sample:", "words"),
        ("cnnviz pipeline x.png ", "files"),
        ("cnnviz pipeline x.png edges --weights ", "files"),
        ("cnnviz convolve x.png -k ", "words"),
        ("cnnviz convolve x.png -k @", "files"),
        ("cnnviz ", "words"),
    ],
)
def test_where_a_path_may_stand(line: str, kind: str) -> None:
    assert answer([line]).split("\n")[0] == kind


def test_bash_replaces_only_what_stands_behind_the_colon() -> None:
    assert answer(["cnnviz pool sample:chel", " :="]) == "words\nchelsea\tChelsea the cat"
    assert answer(["cnnviz pool 'sample:chel", " :="]) == "words\nsample:chelsea\tChelsea the cat"


def test_every_sample_and_command_is_offered() -> None:
    assert {name for name, _ in candidates(["pool"], "sample:")[1]} == {
        f"sample:{name}" for name in sample_files()
    }
    assert {"convolve", "samples"} < {name for name, _ in candidates([], "")[1]}
    assert stages("edges")[0] == ("smooth", "conv")


@pytest.mark.parametrize(
    "line", ["cnnviz pool sample:ch", "cnnviz convolve x -k so", "cnnviz pipeline x 'relu -> m"]
)
def test_names_are_offered_without_numpy(line: str) -> None:
    code = (
        "import sys\n"
        "from cnnviz.cli.completion import answer\n"
        f"print(answer([{line!r}]))\n"
        "assert not {'numpy', 'PIL', 'rich', 'cnnviz.core'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 1


# --- installing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_shown_and_installed(
    run: Run, shell: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(work))
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    shown = run("--show-completion", shell)
    assert (shown.code, shown.err) == (0, "")
    assert shown == run("--show-completion")
    for start in (".bashrc", ".zshrc"):
        Path(start).write_text("alias ll=ls")
    for words in (["--install-completion"], ["--install-completion", shell]):
        assert run(*words).code == 0
    assert (work / SHELLS[shell].path).read_text() == shown.out
    if (start := SHELLS[shell].start) is not None:
        assert (work / start).read_text() == f"alias ll=ls\n{SHELLS[shell].line}\n"


def test_shells_that_are_not_known(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run("--install-completion", "tcsh"), 2, "'tcsh'", "bash, zsh, fish")
    monkeypatch.delenv("SHELL", raising=False)
    refused(run("--show-completion"), 2, "shell", "bash, zsh, fish")


# --- on a terminal -------------------------------------------------------------------------------

START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ""),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -D -u; "),
    "fish": (["fish", "--no-config", "-i"], ""),
}
PROGRAM = f"""\
#!/bin/sh
[ -n "${ASKED}" ] && exec "{sys.executable}" -m cnnviz "$@"
printf '<%s>' "$@"
"""
TYPED = [
    ("pool sample:chel", ["pool", "sample:chelsea"]),
    ("pool photo", ["pool", "photo of a cat.png"]),
    ("convolve x -k unsh", ["convolve", "x", "-k", "unsharp"]),
    ("pool x --mode=adaptive-m", ["pool", "x", "--mode=adaptive-max"]),
    ("pool x --norm", ["pool", "x", "--norm-type"]),
    ("shapes edges alex", ["shapes", "edges", "alexnet"]),
    ("shapes 'relu -> log_soft", ["shapes", "relu -> log_softmax"]),
    ("explain x 'relu as edges' --at ed", ["explain", "x", "relu as edges", "--at", "edges"]),
]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
@pytest.mark.parametrize("shell", START)
def test_tab_completes(shell: str, work: Path) -> None:
    """What is typed and completed is run by a program that prints its words."""
    import pty

    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program = work / "bin" / "cnnviz"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    Path("completion").write_text(SHELLS[shell].script)
    Path("photo of a cat.png").touch()
    words, first = START[shell]
    environment = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(cnnviz.__file__).parents[1]),
        "HOME": str(work), "TERM": "xterm", "PS1": "> ", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(words[0], words, environment)  # noqa: S606
    try:
        _type(terminal, f"{first}source ./completion; cnnviz ready\r", "<ready>")
        for typed, completed in TYPED:
            _type(terminal, f"cnnviz {typed}\t\r", "".join(f"<{word}>" for word in completed))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def _type(terminal: int, text: str, expected: str) -> None:
    """Type text and wait until the terminal shows what is expected."""
    os.write(terminal, text.encode())
    shown, end = "", time.monotonic() + 20
    while expected not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        assert ready, (text, shown)
        shown += os.read(terminal, 65536).decode("utf-8", "replace")
