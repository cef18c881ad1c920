"""Whole processes, from the command line to the file written."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from tests.benchmarks.compare import OURS, Result
from tests.benchmarks.timing import Ratio, Rounds

ROOT = Path(__file__).parents[2]
PHOTOGRAPH = ROOT / "sample_images" / "coffee.jpg"
ALIKE = 0.9  # the least correlation of two pictures of the same edges
CLIPPED = {"ImageMagick": 0.85}  # who cuts off the strongest edges is less alike

CV2 = """
import sys, cv2, numpy as np
x = cv2.imread(sys.argv[1], cv2.IMREAD_GRAYSCALE)
kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
y = cv2.filter2D(x, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
largest = max(abs(value) for value in cv2.minMaxLoc(y)[:2])
cv2.imwrite(sys.argv[2], cv2.convertScaleAbs(y + largest, alpha=127.5 / largest))
"""
SKIMAGE = """
import sys, numpy as np
from skimage import io, filters
y = filters.sobel_v(io.imread(sys.argv[1], as_gray=True))
largest = np.abs(y).max()
io.imsave(sys.argv[2], ((y / largest + 1) * 127.5).astype(np.uint8), check_contrast=False)
"""
TORCH = """
import sys, numpy as np, torch
from PIL import Image
x = torch.from_numpy(np.array(Image.open(sys.argv[1]).convert("L"), np.float32))
kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
with torch.no_grad():
    y = torch.nn.functional.conv2d(x[None, None], kernel[None, None], padding=1)[0, 0]
    y = ((y / y.abs().max() + 1) * 127.5).to(torch.uint8)
Image.fromarray(y.numpy()).save(sys.argv[2])
"""
MAGICK = (
    "-colorspace", "Gray", "-define", "convolve:scale=12.5%!", "-bias", "50%",
    "-morphology", "Convolve", "Sobel",
)  # fmt: skip


@dataclass(frozen=True)
class Process:
    """Commands that do the same, ours and the peers'."""

    name: str
    targets: Mapping[str, float | None]
    picture: str | None = None  # the file name of what they read

    def commands(self, folder: Path) -> Iterator[tuple[str, list[str], Path | None]]:
        """Yield each contender that is installed: name, arguments and what it writes."""
        python = sys.executable
        script = Path(python).with_name("cnnviz")
        cnnviz = [str(script)] if script.is_file() else [python, "-m", "cnnviz"]
        if self.picture is None:
            yield OURS, [*cnnviz, "--help"], None
            yield "imports", [python, "-c", "import typer, rich.console"], None
            return
        source = str(folder / self.picture)
        asked = ["-k", "sobel_x", "--padding", "same", "--only", "maps", "-q", "--force"]
        ours = folder / "ours" / Path(source).stem
        yield OURS, [*cnnviz, "convolve", source, *asked, "-o", str(ours.parent)], ours
        for name, module, script in (
            ("cv2", "cv2", CV2),
            ("scikit-image", "skimage", SKIMAGE),
            ("torch", "torch", TORCH),
        ):
            if find_spec(module) is not None:
                file, target = folder / f"with_{module}.py", folder / f"{module}.png"
                file.write_text(script)
                yield name, [python, str(file), source, str(target)], target
        if _has_magick():
            target = folder / "magick.png"
            yield "ImageMagick", ["convert", source, *MAGICK, str(target)], target


def processes() -> Iterator[Process]:
    """List all cases that are processes."""
    others = {"scikit-image": None, "torch": None, "ImageMagick": None}
    yield Process("process: 12-MP JPEG, Sobel, PNG", {"cv2": 1.0, **others}, "big.jpg")
    yield Process("process: 512x512 PNG, Sobel, PNG", {"cv2": 1.6, **others}, "small.png")
    yield Process("process: --help", {"imports": 2.0})


def run(case: Process, rounds: Rounds) -> Iterator[Result]:
    """Time whole processes in turn."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        if case.picture:
            make_picture(folder / case.picture)
        commands = list(case.commands(folder))
        for _, command, _ in commands:
            _run(command)  # warms the disk's cache, and is what is looked at
        _check(case, commands)
        seconds: dict[str, list[float]] = {each: [] for each, _, _ in commands}
        for _ in range(rounds.usual):
            for contender, command, _ in commands:
                seconds[contender].append(_run(command))
        resident = _peak_memory(commands[0][1])
    ours = seconds.pop(OURS)
    for peer, theirs in seconds.items():
        yield Result(
            case.name,
            peer,
            "",
            median(ours),
            median(theirs),
            Ratio.of(ours, theirs),
            case.targets.get(peer),
            "",
            None,
            None,
            resident,
            len(theirs),
        )


def make_picture(path: Path) -> None:
    """Write a photograph: 4000×3000 with noise like a camera's as JPEG, 512×512 as PNG."""
    with Image.open(PHOTOGRAPH) as photograph:
        if path.suffix == ".png":
            photograph.resize((512, 512)).save(path)
            return
        large = np.asarray(photograph.resize((4000, 3000)), np.int16)
    noise = np.random.default_rng(0).normal(0, 3, large.shape[:2]).astype(np.int16)
    noisy = np.clip(large + noise[:, :, None], 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path, quality=90)


# As people have it: packages keep their byte code, ours too.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def _run(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=ENVIRONMENT)
    return time.perf_counter() - started


def _check(case: Process, commands: list[tuple[str, list[str], Path | None]]) -> None:
    """Raise AssertionError where pictures are not of the same edges."""
    pictures = {name: _pixels(target) for name, _, target in commands if target}
    for name, pixels in pictures.items():
        ours = pictures[OURS]
        assert pixels.shape == ours.shape, f"{case.name}: {name} draws {pixels.shape}"
        alike = abs(np.corrcoef(pixels.ravel(), ours.ravel())[0, 1])
        assert alike > CLIPPED.get(name, ALIKE), (
            f"{case.name}: {name} draws another picture ({alike:.2f})"
        )


def _pixels(target: Path) -> np.ndarray:
    """Return the levels of a gray or colour-mapped PNG without its border of a pixel."""
    file = next(target.glob("*.png")) if target.is_dir() else target
    with Image.open(file) as picture:
        levels = picture if picture.mode in {"L", "P"} else picture.convert("L")
        return np.asarray(levels, np.float32)[1:-1, 1:-1]


def _peak_memory(command: list[str]) -> int | None:
    """Return the most memory a process had, where the system tells."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    kilobytes = done.stdout.strip()
    return 1024 * int(kilobytes) if done.returncode == 0 and sys.platform == "linux" else None


def _has_magick() -> bool:
    if which("convert") is None:
        return False
    done = subprocess.run(["convert", "-version"], check=False, capture_output=True, text=True)
    return "Version: ImageMagick" in done.stdout
