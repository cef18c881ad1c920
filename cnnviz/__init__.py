"""cnnviz: see what a convolutional network does to your own picture.

The Python API is what this module names; the rest may change.

>>> import numpy as np
>>> import cnnviz
>>> pipeline = cnnviz.parse("conv(sobel, padding=same) -> magnitude -> maxpool(2)")
>>> image = np.eye(8, dtype=np.float32)[None]  # (channels, rows, columns)
>>> [stage.output.shape for stage in pipeline.run(image)]
[(2, 8, 8), (1, 8, 8), (1, 4, 4)]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cnnviz.core.comparison import with_convention as with_convention
    from cnnviz.core.engine import computing as computing
    from cnnviz.core.engine import correlate as correlate
    from cnnviz.core.engine import pool as pool
    from cnnviz.core.explanation import Explanation as Explanation
    from cnnviz.core.explanation import explain as explain
    from cnnviz.core.explanation import trace as trace
    from cnnviz.core.field import Field as Field
    from cnnviz.core.kernels import KERNELS as KERNELS
    from cnnviz.core.kernels import Kernel as Kernel
    from cnnviz.core.kernels import build_kernels as build_kernels
    from cnnviz.core.layers import LAYERS as LAYERS
    from cnnviz.core.layers import Layer as Layer
    from cnnviz.core.layers import make_layer as make_layer
    from cnnviz.core.losses import winners as winners
    from cnnviz.core.pipeline import Node as Node
    from cnnviz.core.pipeline import Pipeline as Pipeline
    from cnnviz.core.pipeline import Term as Term
    from cnnviz.core.settings import Padding as Padding
    from cnnviz.core.threads import set_threads as set_threads
    from cnnviz.core.types import Row as Row
    from cnnviz.core.types import Samples as Samples
    from cnnviz.core.types import Stage as Stage
    from cnnviz.core.types import Tensor as Tensor
    from cnnviz.core.types import Totals as Totals
    from cnnviz.core.window import Window as Window
    from cnnviz.errors import CnnvizError as CnnvizError
    from cnnviz.errors import RequestError as RequestError
    from cnnviz.files.images import InputOptions as InputOptions
    from cnnviz.files.images import load_image as load_image
    from cnnviz.files.images import load_pixels as load_pixels
    from cnnviz.files.kernel_text import parse_kernels as parse_kernels
    from cnnviz.files.spec import Spec as Spec
    from cnnviz.files.spec import load_spec as load_spec
    from cnnviz.files.spec import parse as parse
    from cnnviz.files.weights import load_weights as load_weights
    from cnnviz.files.weights import save_weights as save_weights
    from cnnviz.view.grid import draw_grid as draw_grid
    from cnnviz.view.maps import draw_map as draw_map
    from cnnviz.view.scale import Scale as Scale
    from cnnviz.view.scale import choose_scale as choose_scale

_HOMES = {
    "cnnviz.core.comparison": ("with_convention",),
    "cnnviz.core.engine": ("computing", "correlate", "pool"),
    "cnnviz.core.explanation": ("Explanation", "explain", "trace"),
    "cnnviz.core.field": ("Field",),
    "cnnviz.core.kernels": ("KERNELS", "Kernel", "build_kernels"),
    "cnnviz.core.layers": ("LAYERS", "Layer", "make_layer"),
    "cnnviz.core.losses": ("winners",),
    "cnnviz.core.settings": ("Padding",),
    "cnnviz.core.pipeline": ("Node", "Pipeline", "Term"),
    "cnnviz.core.threads": ("set_threads",),
    "cnnviz.core.types": ("Row", "Samples", "Stage", "Tensor", "Totals"),
    "cnnviz.core.window": ("Window",),
    "cnnviz.errors": ("CnnvizError", "RequestError"),
    "cnnviz.files.images": ("InputOptions", "load_image", "load_pixels"),
    "cnnviz.files.kernel_text": ("parse_kernels",),
    "cnnviz.files.spec": ("Spec", "load_spec", "parse"),
    "cnnviz.files.weights": ("load_weights", "save_weights"),
    "cnnviz.view.grid": ("draw_grid",),
    "cnnviz.view.maps": ("draw_map",),
    "cnnviz.view.scale": ("Scale", "choose_scale"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604 - strings, from the table above


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that starting stays instant."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'cnnviz' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
