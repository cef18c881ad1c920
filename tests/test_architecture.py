"""The direction of the house: errors <- core <- {files, view} <- cli."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "cnnviz"
MODULES = sorted(PACKAGE.rglob("*.py"))
STANDARD = set(sys.stdlib_module_names)

MAY_IMPORT = {  # room -> other rooms of ours, and packages of others
    "errors": ({"errors"}, set()),
    "core": ({"errors", "core"}, {"numpy"}),
    "files": ({"errors", "core", "files"}, {"numpy"}),
    "view": ({"errors", "core", "view"}, {"numpy", "PIL", "rich"}),
    "cli": ({"errors", "core", "files", "view", "cli"}, {"numpy", "PIL", "rich", "typer"}),
}


def imports(path: Path) -> set[str]:
    """Return every module a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return  # the face and the script hand on names of every room
    ours, others = MAY_IMPORT[room]
    if path.is_relative_to(PACKAGE / "files" / "images"):
        others = others | {"PIL"}
    if path.is_relative_to(PACKAGE / "files" / "onnx"):
        others = others | {"onnx", "google"}  # protobuf's errors
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "cnnviz":
            assert not rest or rest.split(".")[0] in ours, f"{path} imports {name}"
        else:
            assert top in others | STANDARD, f"{path} imports {name}"


def test_every_module_says_what_it_is_for():
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"numpy", "PIL", "cnnviz.core"}),
        (["convolve", "--help"], {"numpy", "PIL", "cnnviz.core"}),
        (["compare", "--help"], {"numpy", "PIL", "cnnviz.core"}),
        (["shift", "--help"], {"numpy", "PIL", "cnnviz.core"}),
        (["layers"], {"PIL", "cnnviz.files.images"}),
        (["shapes", "vgg16"], {"PIL"}),
        (["shapes", "vgg16", "--format", "json"], {"PIL", "rich"}),
    ],
)
def test_nothing_is_imported_before_it_is_needed(arguments, unwanted):
    code = (
        "import sys\n"
        f"sys.argv = ['cnnviz', *{arguments!r}]\n"
        "from cnnviz.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(','.join(set(sys.modules) & {unwanted!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_public_names_are_there():
    import cnnviz

    for name in cnnviz.__all__:
        assert getattr(cnnviz, name) is not None
    assert dir(cnnviz) == sorted(cnnviz.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        cnnviz.nonsense  # noqa: B018
