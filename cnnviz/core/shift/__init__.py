"""What moving the picture does to each stage: equivariance and invariance, measured.

`shift_errors` moves the picture by whole pixels, `rotation_errors` turns it; `findings` says in
sentences what the numbers show.
"""

from cnnviz.core.shift.findings import compared, findings, rebuilt
from cnnviz.core.shift.records import AXES, MODES, Movement, MovementErrors, StageErrors
from cnnviz.core.shift.rotation import rotate, rotation_errors
from cnnviz.core.shift.translation import largest_shift, shift_errors

__all__ = [
    "AXES",
    "MODES",
    "Movement",
    "MovementErrors",
    "StageErrors",
    "compared",
    "findings",
    "largest_shift",
    "rebuilt",
    "rotate",
    "rotation_errors",
    "shift_errors",
]
