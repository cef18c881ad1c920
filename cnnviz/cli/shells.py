"""The scripts by which bash, zsh and fish have cnnviz complete words at Tab.

Each runs ``cnnviz LINE`` with `ASKED` set to the shell's name, LINE being what is typed up to the
cursor. The answer's first line is ``files`` where a path may stand, too, else ``words``; then comes
a candidate a line, and behind a tab what it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ASKED = "_CNNVIZ_COMPLETE"
OPTIONS = ("--install-completion", "--show-completion")

BASH = f"""\
_cnnviz_completion() {{
    local kind="" line
    COMPREPLY=()
    while IFS= read -r line; do
        if [ -z "$kind" ]; then kind=$line; else COMPREPLY+=("${{line%%$'\\t'*}}"); fi
    done < <({ASKED}=bash "$1" "${{COMP_LINE:0:COMP_POINT}}" "$COMP_WORDBREAKS" 2>/dev/null)
    [ "$kind" = files ] && [ ${{#COMPREPLY[@]}} -gt 0 ] || return
    while IFS= read -r line; do
        [ -d "$line" ] && line+=/
        printf -v line %q "$line"
        COMPREPLY+=("$line")
    done < <(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}")
}}
complete -o default -F _cnnviz_completion cnnviz
"""

ZSH = f"""\
#compdef cnnviz
_cnnviz() {{
    local line failed=1
    local -a lines values shown
    lines=("${{(@f)$({ASKED}=zsh $words[1] "${{(j: :)words[1,CURRENT]}}" 2>/dev/null)}}")
    for line in "${{(@)lines[2,-1]}}"; do
        values+=("${{line%%$'\\t'*}}")
        shown+=("${{line//$'\\t'/  }}")
    done
    compadd -l -d shown -a values && failed=0
    [[ $lines[1] == files ]] && _files && failed=0
    return failed
}}
if [[ $funcstack[1] == _cnnviz ]]; then _cnnviz "$@"; else compdef _cnnviz cnnviz; fi
"""

FISH = f"""\
function __cnnviz_completion
    set -lx {ASKED} fish
    set -l lines (cnnviz (commandline -cp | string collect) 2>/dev/null)
    printf '%s\\n' $lines[2..-1]
    test "$lines[1]" = files; and __fish_complete_path (commandline -ct)
end
complete -c cnnviz -f -a '(__cnnviz_completion)'
"""


class Shell(NamedTuple):
    """What a shell loads, and the line that has it loaded at each start."""

    script: str
    path: str  # below the home folder
    start: str | None = None  # the file with the line, if one is needed
    line: str = ""


SHELLS = {
    "bash": Shell(
        BASH, ".bash_completions/cnnviz.sh", ".bashrc", "source ~/.bash_completions/cnnviz.sh"
    ),
    "zsh": Shell(
        ZSH, ".zfunc/_cnnviz", ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit"
    ),
    "fish": Shell(FISH, ".config/fish/completions/cnnviz.fish"),
}


def install(name: str) -> list[Path]:
    """Write a shell's script below the home folder, and what loads it; return the files."""
    shell = SHELLS[name]
    written = [Path.home() / shell.path]
    written[0].parent.mkdir(parents=True, exist_ok=True)
    written[0].write_text(shell.script, "utf-8")
    if shell.start is not None:
        start = Path.home() / shell.start
        before = start.read_text("utf-8") if start.exists() else ""
        if shell.line not in before:
            with start.open("a", encoding="utf-8") as file:
                file.write(f"\n{shell.line}\n")
            written.append(start)
    return written


def with_shell(words: Sequence[str]) -> list[str]:
    """Return a command line where the shell is named: the one that is in use, if it was not."""
    last = words[-1] if words else ""
    shell = [Path(os.environ.get("SHELL", "")).name] if last in OPTIONS else []
    return [*words, *shell]
