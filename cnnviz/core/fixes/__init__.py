"""Changes that would make a pipeline fit its input, each of which really runs."""

from cnnviz.core.fixes.problem import Fix
from cnnviz.core.fixes.search import MOST, fixes

__all__ = ["MOST", "Fix", "fixes"]
