"""README holds: its examples run, its pictures are theirs, its tables are the registries'."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from tests import tour

TEXT = tour.README.read_text("utf-8")
EXAMPLES = list(tour.examples(TEXT))


def test_tables_are_up_to_date():
    assert tour.with_tables(TEXT) == TEXT, "run: python -m tests.tour"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.commands[0][7:47])
def test_examples_run_and_make_their_pictures(example, capsys):
    with tour.working_folder() as folder:
        for command in example.commands:
            assert tour.run(command) == 0, capsys.readouterr().err
        if example.kept is not None:
            with Image.open(example.made_path(folder)) as made:
                size = made.size
            with Image.open(tour.ROOT / example.kept) as kept:
                assert kept.size == size, "run: python -m tests.tour"


def test_every_picture_exists():
    for target in re.findall(r"\]\((sample_images/[^)]+)\)", TEXT):
        assert (tour.ROOT / target).is_file(), target


def test_worked_figures_of_readme(capsys):
    """The numbers README states beside its commands are those the commands print."""
    shown = {}
    with tour.working_folder():
        for example in EXAMPLES:
            for command in example.commands:
                assert tour.run(command) == 0
                shown[command] = capsys.readouterr().out
    text = "\n".join(shown.values())
    for figure in ("138,357,544", "25,089,000", "513,000", "212×212", "66×66", "2,2,3,3"):
        assert figure in text
        assert (
            figure in TEXT or figure.replace("×", " ") in TEXT or figure in ("212×212", "2,2,3,3")
        )
    assert "4 3 4\n2 4 3\n2 3 4" in text
    for figure in ("63.8%", "23.5%"):
        assert figure in text


def test_what_readme_shows_of_derivations_is_what_is_printed(capsys):
    """Also of the pipeline that does not fit, whose command no example runs."""
    shown = [*re.findall(r"^    (cnnviz shapes \".*--explain)$", TEXT, re.MULTILINE)]
    shown += [c for example in EXAMPLES for c in example.commands if "--explain" in c]
    assert len(shown) == 2
    codes = [tour.run(command) for command in shown]
    assert sorted(codes) == [0, 1]
    printed = " ".join(capsys.readouterr().out.split())
    section = TEXT.split("### Why 112")[1].split("## Commands")[0]
    lines = re.findall(r"^    (?!cnnviz)(.*)$", section, re.MULTILINE)
    assert len(lines) > 20
    for line in lines:
        assert " ".join(line.split()) in printed


def test_python_example_runs(capsys):
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    with tour.working_folder() as folder:
        exec(compile(code[1], "README", "exec"), {})  # noqa: S102 - our own README
        assert (folder / "strength.png").is_file()
    assert capsys.readouterr().out.endswith("(2, 2, 3, 3) (112, 112)\n")


def test_everything_registered_is_in_the_readme():
    import cnnviz

    for name in (*cnnviz.LAYERS, *cnnviz.KERNELS):
        assert f"| {name}" in TEXT


def test_commands_are_documented():
    from cnnviz.cli.app import app

    for command in app.registered_commands:
        if command.name == "help":
            continue
        assert f"`cnnviz {command.name} " in TEXT


def test_ci_runs_the_two_commands_of_the_quick_start():
    blocks = re.findall(r"```bash\n(python3 -m venv .*?)\n```", TEXT)
    assert len(blocks) == 2
    assert "quick_start" in (tour.ROOT / ".ci" / "run").read_text("utf-8")
