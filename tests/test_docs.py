"""README and cnnviz/docs hold: their examples run, tables and pictures are up to date."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pkgutil import iter_modules

import pytest
from PIL import Image

from tests import tour

README = tour.README.read_text("utf-8")
TEXTS = {path: path.read_text("utf-8") for path in tour.DOCUMENTS}
CONTRIBUTING = tour.ROOT / ".github" / "CONTRIBUTING.md"
BY_NAME = {"argvalues": tour.DOCUMENTS, "ids": lambda path: path.stem}


def reference(name: str) -> str:
    return TEXTS[tour.ROOT / "cnnviz" / "docs" / f"{name}.md"]


@pytest.mark.parametrize("document", **BY_NAME)
def test_tables_are_up_to_date(document):
    assert tour.with_tables(TEXTS[document]) == TEXTS[document], "run: python -m tests.tour"


def missing(package):
    return package is not None and importlib.util.find_spec(package) is None


EXAMPLES = [
    pytest.param(
        example,
        id=f"{document.stem}: {example.commands[0][7:47]}",
        marks=[
            *([pytest.mark.heavy] if example.slow else []),
            pytest.mark.skipif(missing(example.needs), reason=f"{example.needs} is not installed"),
        ],
    )
    for document in tour.DOCUMENTS
    for example in tour.examples(document)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_print_and_draw_what_stands_below_them(example, capsys):
    with tour.working_folder() as folder:
        codes = [tour.run(command) for command in example.commands]
        printed = capsys.readouterr()
        assert set(codes) == {example.exit_code}, printed.err
        words = " ".join(printed.out.split())
        for line in example.prints:
            assert " ".join(line.split()) in words
        if example.kept is not None:
            with Image.open(example.made_path(folder)) as made:
                size = made.size
            with Image.open(example.kept) as kept:
                assert kept.size == size, "run: python -m tests.tour"


@pytest.mark.parametrize("document", **BY_NAME)
def test_python_examples_run(document):
    """The blocks of a document run one after the other, and print what their comments say."""
    text = tour.ADDITION.sub("", TEXTS[document])
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    with tour.working_folder():
        exec(compile(code, document.name, "exec"), {})  # noqa: S102 - our own documents


def test_what_python_says_in_comments_is_printed(capsys):
    test_python_examples_run(next(path for path in tour.DOCUMENTS if path.stem == "python"))
    assert capsys.readouterr().out.endswith("(2, 2, 3, 3) (112, 112)\n(1, 510, 510)\n")


@pytest.mark.parametrize("document", [*tour.DOCUMENTS, CONTRIBUTING], ids=lambda path: path.stem)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        path, _, chapter = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        if chapter:
            titles = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles]
            assert chapter in anchors, target


@pytest.mark.parametrize("document", [*tour.DOCUMENTS, CONTRIBUTING], ids=lambda path: path.stem)
def test_files_named_are_there(document):
    named = re.findall(
        r"`((?:cnnviz|tests|core|sample_images)/[\w/.]+)`", document.read_text("utf-8")
    )
    for name in named:
        assert (tour.ROOT / name).exists() or (tour.ROOT / "cnnviz" / name).exists(), name


def test_readme_is_short():
    assert len(README.encode()) <= 15 * 1024


def test_commands_are_documented():
    from cnnviz.cli.app import app

    for command in app.registered_commands:
        assert re.search(rf"`cnnviz {command.name}[ `]", README)


def test_everything_registered_is_in_the_reference():
    import cnnviz

    for name in cnnviz.LAYERS:
        assert f"### `{name}`" in reference("layers")
    for name in cnnviz.KERNELS:
        assert re.search(rf"^\| {name}\b", reference("kernels"), re.MULTILINE)


def test_every_operator_of_onnx_is_named():
    from cnnviz.files import onnx

    names = [module.name for module in iter_modules(onnx.__path__, f"{onnx.__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    operators = {name for module in modules for name in getattr(module, "OPERATORS", ())}
    named = set(re.findall(r"\w+", reference("weights").split("## ONNX")[1]))
    assert len(operators) > 60
    assert not operators - named


def test_every_json_key_is_explained():
    record = tour.answer("cnnviz shapes lenet5 --input 1x28x28")
    explained = set(re.findall(r"`(\w+)`", reference("columns").split("## JSON")[1]))
    for keys in (record, record["stages"][0], record["totals"], record["input"]):
        assert not set(keys) - explained


def test_ci_runs_the_two_commands_of_the_quick_start():
    blocks = re.findall(r"```bash\n(python3 -m venv .*?)\n```", README)
    assert len(blocks) == 2
    assert "quick_start" in (tour.ROOT / ".ci" / "run").read_text("utf-8")


def test_what_is_added_as_readme_says_passes_the_contract_tests(tmp_path):
    """In a copy of the package with README's additions, each tested by existing."""
    for part in ("cnnviz", "tests"):
        shutil.copytree(tour.ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pyc*"))
    shutil.copy(tour.ROOT / "pyproject.toml", tmp_path)
    additions = tour.ADDITION.findall(README)
    for file, before, code in additions:
        path = tmp_path / file
        text = path.read_text("utf-8")
        assert before in text
        path.write_text(text.replace(before, code + before, 1) if before else f"{text}\n\n{code}")
    named = r'^(?:    _kernel\(|curve\(|merge\(|    name.*=)\s+"(\w+)"'
    names = re.findall(named, README, re.MULTILINE)
    assert len(names) == len(additions) == 4
    core = (tmp_path / "tests" / "core").rglob("test_*.py")
    tests = [
        path for path in core if re.search("layer|grad|kernel", f"{path.relative_to(tmp_path)}")
    ]
    # Left out are the tests that need an entry in a table of their own for each activation.
    contract = f"({' or '.join(f'[{name}]' for name in names)}) and not activations"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests, "-k", contract],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 20
