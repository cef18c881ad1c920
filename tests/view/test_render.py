import subprocess
import sys

from cnnviz.view import filters, grid, kernel, maps, numbers, render, scale, vector


def test_every_picture_has_its_name_here():
    rooms = [filters, grid, kernel, maps, numbers, scale, vector]
    for name in render.__all__:
        assert getattr(render, name) in [vars(room).get(name) for room in rooms]


def test_other_names_are_not_here():
    assert not hasattr(render, "draw_gird")


def test_who_draws_a_map_does_not_wait_for_fonts():
    program = """
import sys
import numpy as np
from cnnviz.view import render

render.draw_map(np.zeros((2, 2), np.float32), render.choose_scale(0, 0))
print(*{"PIL.ImageFont", "PIL.ImageDraw", "cnnviz.view.sheet", "rich"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
