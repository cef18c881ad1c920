"""Cross-correlation: one operation, one table of algorithms, a file for each."""

from cnnviz.core.engine.correlation.correlate import ALGORITHMS, correlate
from cnnviz.core.engine.correlation.problem import Correlation

__all__ = ["ALGORITHMS", "Correlation", "correlate"]
