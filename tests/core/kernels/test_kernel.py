"""One kernel, made of numbers or an array: its factors, rank and symmetry."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cnnviz.core.kernels import (
    Kernel,
    build_kernels,
    kernel_from_numbers,
    kernels_from_array,
)
from cnnviz.errors import RequestError
from tests.core.kernels.pictures import weights

# --- numbers and arrays of the user's


def test_kernel_from_numbers():
    kernel = kernel_from_numbers([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    assert kernel.name == "custom"
    assert_array_equal(kernel.weights, -weights("sobel_x"))
    assert kernel_from_numbers(((1 / 9, np.float32(2)),), "mine").name == "mine"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "kernel 'custom' has no numbers"),
        ([[]], "row 1 of kernel 'custom' is empty"),
        ([[1], []], "row 2 of kernel 'custom' is empty"),
        ([[1, 2, 3], [1, 2]], "row 2 of kernel 'custom' has 2 numbers, row 1 has 3"),
        ([[1, 2, 3], [1]], "row 2 of kernel 'custom' has 1 number, row 1 has 3"),
        ([[1, 2], [1, math.nan]], "row 2 of kernel 'custom' holds nan"),
        ([[1, -math.inf]], "row 1 of kernel 'custom' holds -inf"),
        ([[1, 1e39]], "row 1 of kernel 'custom' holds 1e+39"),
        ([[10**5000]], "row 1 of kernel 'custom' holds too large a number"),
        ([[1, "a"]], "row 1 of kernel 'custom' holds 'a'"),
        ([[1, 1j]], "row 1 of kernel 'custom' holds 1j"),
    ],
)
def test_wrong_numbers(rows, message):
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        kernel_from_numbers(rows)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("shape", "names", "inner"),
    [
        ((3, 5), ["k"], (3, 5)),
        ((1, 3, 5), ["k"], (3, 5)),
        ((2, 3, 5), ["k_0", "k_1"], (3, 5)),
        ((1, 4, 3, 5), ["k"], (4, 3, 5)),
        ((2, 4, 3, 5), ["k_0", "k_1"], (4, 3, 5)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int16", "bool", "float64", ">f4"])
def test_kernels_from_array(shape, names, inner, dtype):
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    kernels = kernels_from_array(array, "k")
    assert [kernel.name for kernel in kernels] == names
    assert {kernel.weights.shape for kernel in kernels} == {inner}
    assert {kernel.size for kernel in kernels} == {(3, 5)}
    assert_array_equal(np.array([kernel.weights for kernel in kernels]).reshape(shape), array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.float64(3), "has 0 dimensions, shape ()"),
        (np.ones(3), "has 1 dimensions, shape (3,)"),
        (np.ones((1, 1, 1, 1, 1)), "has 5 dimensions"),
        (np.ones((0, 3, 3)), "is empty, shape (0, 3, 3)"),
        (np.ones((3, 0)), "is empty, shape (3, 0)"),
        (np.ones((3, 3), complex), "holds values of type complex128"),
        (np.array([["a"]]), "holds values of type <U1"),
        (np.array([[None]]), "holds values of type object"),
        (np.array([[1, 2], [3, math.nan]]), "holds nan at index (1, 1)"),
        (np.array([[[1, math.inf]]]), "holds inf at index (0, 0, 1)"),
        (np.array([[1e39]]), "holds 1e+39 at index (0, 0)"),
    ],
)
def test_wrong_arrays(array, message):
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        kernels_from_array(array, "k")
    assert "kernel 'k'" in caught.value.message
    assert caught.value.hint


def test_changing_the_array_does_not_change_the_kernel():
    array = np.ones((3, 3))
    (kernel,) = kernels_from_array(array, "k")
    array[0, 0] = 5
    assert kernel.weights[0, 0] == 1
    assert array.flags.writeable


# --- one kernel


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3, 4), (0, 3)])
def test_kernel_of_a_wrong_shape(shape):
    with pytest.raises(RequestError, match="has the shape"):
        Kernel("k", np.ones(shape))


def test_kernel_of_a_wrong_value():
    with pytest.raises(RequestError, match=r"holds nan at index \(0, 1\)"):
        Kernel("k", np.array([[1, math.nan]]))


def test_equality_and_hash_by_name_and_weights():
    one, same = (Kernel("k", np.eye(3)) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same}) == 1
    assert one != Kernel("l", np.eye(3))
    assert one != Kernel("k", np.eye(3) * 2)
    assert one != Kernel("k", np.eye(3)[np.newaxis])
    assert one != "k"
    positive, negative = Kernel("z", np.array([[0.0]])), Kernel("z", np.array([[-0.0]]))
    assert positive == negative
    assert hash(positive) == hash(negative)


def test_flipped_is_half_a_turn_of_every_plane():
    planes = np.arange(12.0).reshape(2, 2, 3)
    flipped = Kernel("k", planes).flipped()
    assert flipped.name == "k"
    assert_array_equal(flipped.weights[0], [[5, 4, 3], [2, 1, 0]])
    assert flipped.flipped() == Kernel("k", planes)


@pytest.mark.parametrize(
    ("matrix", "column", "row"),
    [
        ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], [1, 2, 1], [-1, 0, 1]),
        ([[1, 0, -1], [2, 0, -2], [1, 0, -1]], [1, 2, 1], [1, 0, -1]),
        ([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], [-1, 0, 1], [1, 2, 1]),
        ([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], [1, 0, -1], [1, 2, 1]),
        ([[1, 1], [1, 1]], [1, 1], [1, 1]),
        ([[-1, -1], [-1, -1]], [-1, -1], [1, 1]),
        ([[4, 6], [6, 9]], [2, 3], [2, 3]),
        ([[-6, 0, 6], [-20, 0, 20], [-6, 0, 6]], [6, 20, 6], [-1, 0, 1]),
        ([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], [1, -2, 1], [-1, 2, -1]),
        ([[0.0625, 0.125], [0.1875, 0.375]], [0.25 * 3**0.5, 0.75 * 3**0.5], None),
        ([[-0.125, 0, 0.125], [-0.25, 0, 0.25], [-0.125, 0, 0.125]], [0.25, 0.5, 0.25],
         [-0.5, 0, 0.5]),
        ([[0, 0], [0, 3]], [0, 3], [0, 1]),
        ([[-7]], [-7], [1]),
    ],
)  # fmt: skip
def test_factors_are_easy_to_read(matrix, column, row):
    kernel = kernel_from_numbers(matrix)
    found_column, found_row = kernel.factors()
    assert_allclose(np.outer(found_column, found_row), matrix, rtol=1e-15)
    if row is not None:
        assert_array_equal(found_column, column)
        assert_array_equal(found_row, row)
        assert not np.signbit(found_row[found_row == 0]).any()


@given(
    column=st.lists(st.integers(-9, 9), min_size=1, max_size=6),
    row=st.lists(st.integers(-9, 9), min_size=1, max_size=6),
)
def test_whole_products_come_apart_into_whole_numbers(column, row):
    matrix = np.outer(column, row).astype(np.float64)
    kernel = Kernel("k", matrix)
    assert kernel.rank == (1 if matrix.any() else 0)
    found_column, found_row = kernel.factors()
    assert_array_equal(np.outer(found_column, found_row), matrix)
    assert_array_equal(found_column, found_column.round())
    assert_array_equal(found_row, found_row.round())


@given(
    column=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    row=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
)
def test_factors_of_any_product(column, row):
    matrix = np.outer(column, row)
    factors = Kernel("k", matrix).factors()
    if factors is None:  # underflow can spoil a product of tiny numbers
        assert np.abs(matrix[matrix != 0]).min() < 1e-300
        return
    assert_allclose(np.outer(*factors), matrix, rtol=1e-6, atol=1e-6 * np.abs(matrix).max())


def test_factors_survive_float32():
    single = weights("gaussian", 9, sigma=1.7).astype(np.float32)
    kernel = Kernel("from_file", single)
    assert kernel.rank == 1
    assert_allclose(np.outer(*kernel.factors()), single, rtol=1e-6)


def test_what_is_not_separable_has_no_factors():
    laplacian = build_kernels("laplacian")[0]
    assert (laplacian.rank, laplacian.separable, laplacian.factors()) == (2, False, None)


def test_rank_of_planes():
    planes = Kernel("k", np.stack([np.zeros((3, 3)), np.outer([1, 2, 1], [1, 0, 1]), np.eye(3)]))
    assert planes.rank == 3
    assert not planes.separable
    assert planes.factors() is None
    single = Kernel("k", np.ones((1, 3, 3)))
    assert single.separable
    assert_array_equal(single.factors()[0], [1, 1, 1])
    twins = Kernel("k", np.ones((2, 3, 3)))
    assert (twins.rank, twins.separable) == (1, False)
    assert Kernel("k", np.zeros((2, 2))).separable
    assert_array_equal(np.outer(*Kernel("k", np.zeros((2, 2))).factors()), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
         ["antisymmetric left-right", "symmetric top-bottom"]),
        ([[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
         ["symmetric left-right", "antisymmetric top-bottom"]),
        ([[0, 1, 0], [1, -4, 1], [0, 1, 0]],
         ["symmetric left-right", "symmetric top-bottom", "symmetric about both diagonals"]),
        ([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], ["symmetric about the falling diagonal"]),
        ([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]],
         ["antisymmetric about the falling diagonal", "symmetric about the rising diagonal"]),
        ([[1, 2, 3], [4, 5, 4], [3, 2, 1]], ["point-symmetric"]),
        ([[1, 2, 3], [4, 0, -4], [-3, -2, -1]], ["point-antisymmetric"]),
        ([[1, 2, 0, 1], [0, 3, 3, 2], [2, 3, 3, 0], [1, 0, 2, 1]], ["unchanged by quarter turns"]),
        ([[1, 2, 3]], []),
        ([[1, 2, 1]], ["symmetric left-right"]),
        ([[1], [0], [-1]], ["antisymmetric top-bottom"]),
        ([[1, 2], [3, 4]], []),
        ([[5]], []),
        ([[0, 0], [0, 0]], []),
        ([[1, 2, 3], [3, 2, 1]], ["point-symmetric"]),
    ],
)  # fmt: skip
def test_symmetry_words(matrix, words):
    assert kernel_from_numbers(matrix).symmetry == words


def test_symmetry_of_planes_is_that_of_all():
    sobel, laplacian = weights("sobel_x"), weights("laplacian")
    assert Kernel("k", np.stack([sobel, 2 * sobel])).symmetry == [
        "antisymmetric left-right",
        "symmetric top-bottom",
    ]
    assert Kernel("k", np.stack([sobel, laplacian])).symmetry == ["symmetric top-bottom"]
