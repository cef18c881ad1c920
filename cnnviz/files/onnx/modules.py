"""Names people know: a node goes by its PyTorch module's path, where the file tells it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnviz.files.onnx.protobuf import OnnxNode

_SCOPES = "pkg.torch.onnx.name_scopes"  # what torch's exporter writes since 2.5
_QUOTED = re.compile(r"'([^']*)'")


def named_by_modules(nodes: Sequence[OnnxNode], protos: Sequence[Any]) -> list[OnnxNode]:
    """Return the nodes named by the paths of their modules: ``layer1.0.conv1``.

    A module that has several nodes, or modules within it, gives its nodes their operators, too:
    ``layer1.0.Add``. Nodes that say nothing of modules keep their names.
    """
    paths = [_module(node, proto) for node, proto in zip(nodes, protos, strict=True)]
    counts = Counter(
        path
        for path, node in zip(paths, nodes, strict=True)
        if node.operator not in ("Constant", "Identity")
    )
    for path in set(paths):
        while path := path.rpartition(".")[0]:
            counts[path] += 2
    return [
        node._replace(name=path if counts[path] == 1 else f"{path}.{node.operator}")
        if path
        else node
        for path, node in zip(paths, nodes, strict=True)
    ]


def _module(node: OnnxNode, proto: Any) -> str:
    """Return the path of the module a node belongs to; nothing for the network itself."""
    for entry in getattr(proto, "metadata_props", ()):  # of files since 2024
        if entry.key == _SCOPES:
            *scopes, _ = _QUOTED.findall(entry.value) or [""]
            return scopes[-1] if scopes else ""
    return _joined(node.name.split("/")[1:-1]) if node.name.startswith("/") else ""


def _joined(scopes: Sequence[str]) -> str:
    """Join scopes; in a Sequential they begin with the one before them.

    >>> _joined(["layer1", "layer1.0", "downsample", "downsample.0"])
    'layer1.0.downsample.0'
    """
    path = before = ""
    for scope in scopes:
        own = scope.removeprefix(f"{before}.") if before else scope
        path = f"{path}.{own}" if path else own
        before = scope
    return path
