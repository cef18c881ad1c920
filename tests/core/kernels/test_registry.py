"""The registry of kernels: what each entry promises, and what wrong requests are answered."""

import dataclasses
import math
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnviz.core.kernels import (
    KERNELS,
    Kernel,
    KernelEntry,
    build_kernels,
)
from cnnviz.errors import RequestError

ENTRIES = pytest.mark.parametrize("entry", KERNELS.values(), ids=list(KERNELS))
FIXED_NAMES = [entry.name for entry in KERNELS.values() if entry.kind == "kernel"]
# What PRODUCT.md promises by name.
PROMISED_KERNELS = [
    "identity", "sobel_x", "sobel_y", "scharr_x", "scharr_y", "prewitt_x", "prewitt_y",
    "roberts_x", "roberts_y", "farid_x", "farid_y", "kirsch_n", "kirsch_ne", "kirsch_e",
    "kirsch_se", "kirsch_s", "kirsch_sw", "kirsch_w", "kirsch_nw", "laplacian", "laplacian_8",
    "outline", "sharpen", "unsharp", "emboss", "line_h", "line_v", "line_45", "line_135",
    "corner", "red_green", "blue_yellow", *[f"freichen_{number}" for number in range(1, 10)],
]  # fmt: skip
PROMISED_OTHERS = [
    "sobel", "prewitt", "scharr", "roberts", "farid", "kirsch", "freichen", "lines", "gabor_bank",
    "gaussian", "box", "log", "dog", "gabor", "motion", "random",
]  # fmt: skip
OPPONENTS = ("red_green", "blue_yellow")
BANK_SIZES = {
    "difference": 2, "sobel": 2, "sobel_5": 2, "scharr": 2, "prewitt": 2, "roberts": 2, "farid": 2,
    "kirsch": 8, "robinson": 8, "lines": 4, "freichen": 9, "laws": 16, "gabor_bank": 8, "dct": 9,
}  # fmt: skip


# --- the registry


@ENTRIES
def test_entry_builds_and_describes_itself(entry):
    kernels = entry.build()
    assert len(kernels) == BANK_SIZES.get(entry.name, 1)
    assert entry.kind == ("bank" if len(kernels) > 1 else entry.kind)
    assert len({kernel.name for kernel in kernels}) == len(kernels)
    assert entry.summary
    assert not entry.summary.endswith(".")
    assert "\n" not in entry.summary
    assert len(entry.summary) <= 90
    assert entry.source
    assert not entry.source.endswith(".")
    assert build_kernels(entry.name) == tuple(kernels)


@ENTRIES
def test_weights_are_finite_and_read_only(entry):
    for kernel in entry.build():
        assert kernel.weights.dtype == np.float64
        assert kernel.weights.ndim == 3 if entry.name in OPPONENTS else 2
        assert np.isfinite(kernel.weights).all()
        assert not np.signbit(kernel.weights[kernel.weights == 0]).any()
        with pytest.raises(ValueError, match="read-only"):
            kernel.weights[..., 0, 0] = 1


@ENTRIES
def test_factors_reproduce_the_matrix(entry):
    for kernel in entry.build():
        ranks = np.linalg.matrix_rank(kernel.weights, rtol=2.0**-23)
        assert kernel.rank == ranks.max()
        assert kernel.separable == (kernel.weights.ndim == 2 and kernel.rank <= 1)
        factors = kernel.factors()
        assert (factors is not None) == kernel.separable
        if factors:
            column, row = factors
            assert_allclose(np.outer(column, row), kernel.weights, rtol=1e-13, atol=1e-17)


@ENTRIES
def test_signature_lists_the_parameters(entry):
    assert re.fullmatch(r"\w+(\(\w+=[^,=]+(, \w+=[^,=]+)*\))?", entry.signature)
    assert entry.signature.startswith(entry.name)
    assert ("(" in entry.signature) or entry.kind != "family"


def test_names_are_unique_and_ordered_by_kind():
    kinds = [entry.kind for entry in KERNELS.values()]
    parametric = ["gaussian", "binomial", "box", "log", "dog", "gabor", "gabor_bank"]
    assert all(name == entry.name for name, entry in KERNELS.items())
    assert kinds[: len(FIXED_NAMES)] == ["kernel"] * len(FIXED_NAMES)
    assert list(KERNELS)[-10:] == [*parametric, "motion", "dct", "random"]
    assert len({entry.summary for entry in KERNELS.values()}) > len(KERNELS) / 2


def test_no_two_entries_share_a_name():
    from cnnviz.core.kernels.families import FAMILIES
    from cnnviz.core.kernels.fixed import BANKS, FIXED

    assert len(KERNELS) == len(FIXED) + len(BANKS) + len(FAMILIES)


@pytest.mark.parametrize("name", PROMISED_KERNELS)
def test_promised_kernel_is_there(name):
    assert KERNELS[name].kind == "kernel"
    assert build_kernels(name)[0].name == name


@pytest.mark.parametrize("name", PROMISED_OTHERS)
def test_promised_bank_or_family_is_there(name):
    assert KERNELS[name].kind in {"bank", "family"}


def test_signatures():
    assert KERNELS["sobel_x"].signature == "sobel_x"
    assert KERNELS["kirsch"].signature == "kirsch"
    assert KERNELS["gaussian"].signature == "gaussian(size=3, sigma=None)"
    assert KERNELS["random"].signature == "random(count=1, size=3, seed=0)"


def test_registry_and_entries_cannot_be_changed():
    with pytest.raises(TypeError):
        KERNELS["mine"] = KERNELS["box"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        KERNELS["box"].name = "mine"


def test_an_entry_may_be_anyones():
    entry = KernelEntry("pair", "family", "two", "me", lambda size=2: [Kernel("a", np.eye(size))])
    assert entry.signature == "pair(size=2)"


def test_bank_members_are_registered_kernels():
    for name in ["sobel", "sobel_5", "scharr", "prewitt", "roberts", "farid", "difference",
                 "kirsch", "robinson", "lines", "freichen"]:  # fmt: skip
        for kernel in build_kernels(name):
            assert build_kernels(kernel.name) == (kernel,)


# --- asking for kernels the wrong way


@pytest.mark.parametrize(
    ("name", "args", "options", "message"),
    [
        ("sobelx", (), {}, "unknown kernel 'sobelx' (did you mean sobel_x"),
        ("nothing", (), {}, "unknown kernel 'nothing'"),
        ("sobel_x", (3,), {}, "sobel_x takes no arguments (write sobel_x on its own)"),
        ("sobel", (), {"size": 3}, "sobel takes no arguments"),
        ("gaussian", (), {"sigm": 3}, "unknown option of gaussian() 'sigm' (did you mean sigma?)"),
        ("gaussian", (), {"name": 3}, "unknown option of gaussian() 'name'"),
        ("gaussian", (3, 1, 2), {}, "takes at most 2 arguments, got 3 (write gaussian(size=3"),
        ("box", (3, 1), {}, "box() takes at most 1 argument, got 2"),
        ("gaussian", (3,), {"size": 5}, "gaussian() is given size twice, the second time as 5"),
        ("gaussian", (4,), {}, "gaussian(): size must be odd, got 4 (it needs a centre pixel: use"),
        ("gaussian", ((3, 4),), {}, "size must be odd, got 4"),
        ("gaussian", ((3, 5, 7),), {}, "size has 3 numbers, (3, 5, 7)"),
        ("gaussian", (0,), {}, "gaussian(): size must be from 1 to 1001, got 0"),
        ("gaussian", (1003,), {}, "size must be from 1 to 1001, got 1003"),
        ("gaussian", (3.0,), {}, "size must be a whole number, got 3.0"),
        ("gaussian", ("3",), {}, "size must be a whole number, got '3'"),
        ("gaussian", (True,), {}, "size must be a whole number, got True"),
        ("gaussian", (None,), {}, "size must be a whole number, got None"),
        ("gaussian", (3, 0), {}, "gaussian(): sigma must be above 0, got 0"),
        ("gaussian", (3, -1.5), {}, "sigma must be above 0, got -1.5"),
        ("gaussian", (3, math.nan), {}, "sigma must be a finite number, got nan"),
        ("gaussian", (3, math.inf), {}, "sigma must be a finite number, got inf"),
        ("gaussian", (3, 10**400), {}, "sigma must be a finite number, got inf"),
        ("gaussian", (3, "wide"), {}, "sigma must be a number, got 'wide'"),
        ("gaussian", (3, (1, 2)), {}, "sigma must be a number, got (1, 2)"),
        ("gaussian", (3, False), {}, "sigma must be a number, got False"),
        ("box", (-1,), {}, "box(): size must be from 1 to 1001, got -1"),
        ("binomial", (0,), {}, "binomial(): size must be from 1 to 1001, got 0"),
        ("log", (4,), {}, "log(): size must be odd, got 4"),
        ("log", (1,), {}, "log(): size must be from 3 to 1001, got 1"),
        ("log", ((3, 5),), {}, "log(): size must be a whole number, got (3, 5)"),
        ("log", (9, 0), {}, "log(): sigma must be above 0, got 0"),
        ("log", (9, 1e-200), {}, "log(): the weights overflow for sigma=1e-200"),
        ("log", (9, 1e200), {}, "log(): all weights come out as 0 for sigma=1e+200 and size 9"),
        ("dog", (9, 1, 1), {}, "dog(): ratio must be above 1, got 1"),
        ("dog", (9, 1, -1), {}, "dog(): ratio must be above 0, got -1"),
        ("dog", (9, 0.001), {}, "dog(): all weights come out as 0 for sigma=0.001 and size 9"),
        ("gabor", (4,), {}, "gabor(): size must be odd, got 4"),
        ("gabor", (1,), {}, "gabor(): all weights come out as 0"),
        ("gabor", (15, math.inf), {}, "gabor(): theta must be a finite number"),
        ("gabor", (15,), {"wavelength": 1}, "gabor(): wavelength must be at least 2, got 1"),
        ("gabor", (15,), {"wavelength": 0}, "gabor(): wavelength must be above 0, got 0"),
        ("gabor", (15,), {"sigma": 1e-300}, "gabor(): all weights come out as 0"),
        ("gabor", (15,), {"gamma": 0}, "gabor(): gamma must be above 0, got 0"),
        ("gabor", (15,), {"phase": "up"}, "gabor(): phase must be a number, got 'up'"),
        ("gabor_bank", (0,), {}, "gabor_bank(): count must be from 1 to 4096, got 0"),
        ("gabor_bank", (4096, 1001), {}, "4096 kernels of 1001x1001 are 4104196096 weights"),
        ("gabor_bank", (8, 4), {}, "gabor_bank(): size must be odd, got 4"),
        ("motion", (4,), {}, "motion(): size must be odd, got 4"),
        ("motion", ((3, 5),), {}, "motion(): size must be a whole number, got (3, 5)"),
        ("motion", (3, math.nan), {}, "motion(): angle must be a finite number, got nan"),
        ("dct", (17,), {}, "dct(): size must be from 1 to 16, got 17"),
        ("random", (0,), {}, "random(): count must be from 1 to 4096, got 0"),
        ("random", (1.5,), {}, "random(): count must be a whole number, got 1.5"),
        ("random", (1,), {"seed": -1}, "random(): seed must be 0 or more, got -1"),
        ("random", (4000, 999), {}, "random(): 4000 kernels of 999x999 are 3992004000 weights"),
    ],
)
def test_wrong_requests(name, args, options, message):
    with pytest.raises(RequestError) as caught:
        build_kernels(name, *args, **options)
    assert message in str(caught.value)
    assert caught.value.hint
