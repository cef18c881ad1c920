import io
import struct
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnviz.errors import CnnvizError
from cnnviz.files.matrices import is_matrix, matrix_to_tensor, read_matrix


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npy_header(text, *, version=1):
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin-1")


def error_of(data, source="-", **options):
    with pytest.raises(CnnvizError) as caught:
        read_matrix(source, data, **options)
    assert caught.value.exit_code == 1
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2\n3,4", [[1, 2], [3, 4]]),
        ("1;2\n3;4\n", [[1, 2], [3, 4]]),
        ("1\t2\r\n3\t4\r\n", [[1, 2], [3, 4]]),
        ("1\t2\r3\t4\r", [[1, 2], [3, 4]]),
        ("  1   2 \n\n 3  4  ", [[1, 2], [3, 4]]),
        (" 1 , 2 \n# all of it\n3,4 # the rest\n", [[1, 2], [3, 4]]),
        ("\ufeff1,2", [[1, 2]]),
        ("1/4, -1/2, 1 / 8, 1.5/3", [[0.25, -0.5, 0.125, 0.5]]),
        ("+1e-3 .5 5. -0", [[1e-3, 0.5, 5, 0]]),
        ("\N{MINUS SIGN}1 2", [[-1, 2]]),
        ("nan,inf,-inf,NaN,1/2", [[np.nan, np.inf, -np.inf, np.nan, 0.5]]),
        ("7", [[7]]),
        ("0,5;1,25;-2,0\n3,5;4,0;5,75\n", [[0.5, 1.25, -2], [3.5, 4, 5.75]]),
        ("0,5\t1,5\n2,5\t3,5\n", [[0.5, 1.5], [2.5, 3.5]]),
        ("0,5;1;\N{MINUS SIGN},25", [[0.5, 1, -0.25]]),
        ('"1","2.5"\n"-3",4', [[1, 2.5], [-3, 4]]),
        ('"0,5","1,5"', [[0.5, 1.5]]),
        ('"0,5";"1"', [[0.5, 1]]),
    ],
)
def test_text(text, expected):
    matrix = read_matrix("-", text.encode())
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, np.array(expected, dtype=float))
    matrix += 1  # writable


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2\n3,x", ("line 2, column 2", "'x'", "not a number")),
        ("# c\n\n1,2\n3", ("line 4", "row of 1", "line 3", "row of 2")),
        ("1,,3", ("line 1, column 2", "empty")),
        ("1,2,", ("column 3", "empty")),
        ("1,5,2;2,5", ("'2;2'", "separate")),
        ("1/0", ("'1/0'", "divides by zero")),
        ("1/2/3", ("'1/2/3'", "not a number")),
        ("1e999", ("'1e999'", "too large")),
        ("1e300/1e-300", ("too large",)),
        ("1_000", ("'1_000'",)),
        ("\N{ARABIC-INDIC DIGIT ONE}", ("not a number",)),
        ("1+2j", ("'1+2j'",)),
        ("0x10", ("'0x10'",)),
        ("nope" * 100, ("…",)),
        ("", ("no numbers",)),
        ("# only a comment\n \n", ("no numbers",)),
    ],
)
def test_text_errors(text, parts):
    message = error_of(text.encode(), "maps/k.csv")
    assert message.startswith("maps/k.csv")
    for part in parts:
        assert part in message


def test_binary_garbage_is_not_text():
    assert "zero byte" in error_of(b"1,2\n\0\1\2")
    assert "0xff" in error_of(b"\xff\xfe1\0,\0")
    assert "UTF-8" in error_of(bytes(range(256)), "x.csv")


def test_text_is_bounded():
    assert "limit of 5" in error_of(b"1 2 3\n4 5 6", max_pixels=5)
    assert read_matrix("-", b"1 2 3\n4 5 6", max_pixels=6).size == 6
    assert "longer than" in error_of(b"1" * 5000, max_pixels=10)
    assert "1,048,576" in error_of(b"1 " * (2**20 + 1))
    assert "longer than" in error_of(b"#" * (2**26))


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(allow_nan=True, allow_infinity=True),
    ),
    st.sampled_from([",", ";", "\t", " ", ", ", "  "]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n# c\n"]),
)
def test_text_round_trip(matrix, separator, newline):
    text = newline.join(separator.join(map(repr, row)) for row in matrix.tolist())
    read = read_matrix("-", text.encode())
    assert read.shape == matrix.shape
    np.testing.assert_array_equal(read, matrix)


@given(st.text(alphabet="0123456789.,;\t #/-+eEnainf\r\n\N{MINUS SIGN}x_", max_size=40))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text):
    try:
        matrix = read_matrix("-", text.encode())
    except CnnvizError:
        return
    assert matrix.ndim == 2
    assert matrix.size


@pytest.mark.parametrize(
    "dtype", ["?", "b", "B", "<i2", ">i2", "<u4", "i8", "f2", ">f4", "f8", "g"]
)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (2, 1, 3, 2)])
def test_npy_values(dtype, shape):
    array = (np.arange(np.prod(shape)).reshape(shape) % 7).astype(dtype)
    for data in (npy(array), npy(np.asfortranarray(array))):
        matrix = read_matrix("-", data)
        assert matrix.dtype == np.float64
        np.testing.assert_array_equal(matrix, array.astype(np.float64))


def test_npy_file_and_python_2_header(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "A.NPY.npy", array)
    np.testing.assert_array_equal(read_matrix(str(tmp_path / "A.NPY.npy")), array)
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 3L), }\n"
    for version in (1, 2, 3):
        data = npy_header(header, version=version) + array.tobytes()
        np.testing.assert_array_equal(read_matrix("-", data), array)


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.array([1, None], dtype=object), "Python objects"),
        (np.zeros(3, dtype=complex), "complex"),
        (np.array(["a"]), "'<U1'"),
        (np.zeros(2, dtype="M8[s]"), "type"),
        (np.zeros(2, dtype=[("a", "f4")]), "named fields"),
        (np.zeros((1, 1, 1, 1, 1)), "(1, 1, 1, 1, 1)"),
        (np.array(3.0), "()"),
        (np.zeros((0, 3)), "no numbers (shape (0, 3))"),
        (np.zeros((10, 10)), "10 × 10 = 100"),
    ],
)
def test_npy_refused(array, part):
    assert part in error_of(npy(array, allow_pickle=True), "x.npy", max_pixels=50)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 99999999999), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 999999999999999999), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 3, }",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<u', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f8', 'shape': (3,), }",
        "__import__('os').abort()",
        "(" * 9000,
        "'shape': (" + "1" * 8000,
        "'shape': (" + " " * 8000,
    ],
)
def test_npy_hostile_headers(header):
    for version in (1, 2):
        error_of(npy_header(header, version=version) + b"\0" * 64)


def test_npy_broken():
    good = npy(np.arange(6.0))
    assert "ends after 40 of 48 bytes" in error_of(good[:-8], "x.npy")
    assert "is empty" in _file_error(b"", "x.npy")
    assert "not a .npy file" in _file_error(b"hello, world", "x.npy")
    assert "4,294,967,295 bytes" in error_of(b"\x93NUMPY\x02\x00" + b"\xff" * 40)
    import pickle

    assert "not a .npy file" in _file_error(pickle.dumps({"a": 1}), "x.npy")


def _file_error(data, name):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        with pytest.raises(CnnvizError) as caught:
            read_matrix(str(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_files_that_cannot_be_opened(tmp_path):
    for source, part in [
        (str(tmp_path / "no.csv"), "no such file"),
        (str(tmp_path), "is a folder"),
        ("", "no such file"),
        ("a\0.csv", "not a file name"),
        (str(tmp_path / ("x" * 300)), "cannot be read"),
    ]:
        with pytest.raises(CnnvizError, match=part):
            read_matrix(source)


def test_named_pipe(tmp_path):
    import os

    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("1 2\n3 4",))
    writer.start()
    assert read_matrix(str(pipe)).tolist() == [[1, 2], [3, 4]]
    writer.join()


def test_planes():
    rng = np.random.default_rng(0)
    row, plane = rng.normal(size=4), rng.normal(size=(2, 4))
    np.testing.assert_array_equal(matrix_to_tensor(row, "x"), row.astype("f4")[None, None])
    np.testing.assert_array_equal(matrix_to_tensor(plane, "x"), plane.astype("f4")[None])
    for channels in (1, 3, 4):
        last = rng.normal(size=(5, 2, channels))
        tensor = matrix_to_tensor(last, "x")
        assert tensor.shape == (channels, 5, 2)
        assert tensor.flags.c_contiguous
        for channel in range(channels):
            np.testing.assert_array_equal(tensor[channel], last[:, :, channel].astype("f4"))
    first = rng.normal(size=(3, 2, 5))
    np.testing.assert_array_equal(matrix_to_tensor(first, "x"), first.astype("f4"))
    assert matrix_to_tensor(plane, "x").dtype == np.float32


def test_planes_are_a_copy_with_values_kept():
    array = np.array([[np.nan, np.inf, -1e-3]], dtype=np.float32)
    tensor = matrix_to_tensor(array, "x")
    np.testing.assert_array_equal(tensor[0], array)
    tensor[:] = 0
    assert array[0, 1] == np.inf


def test_planes_refused():
    with pytest.raises(CnnvizError, match=r"1e\+300 is too large for float32"):
        matrix_to_tensor(np.array([[1, 1e300]]), "x")
    with pytest.raises(CnnvizError, match=r"\(1, 2, 3, 4\) is not a picture"):
        matrix_to_tensor(np.zeros((1, 2, 3, 4)), "x")
    with pytest.raises(CnnvizError, match="no numbers"):
        matrix_to_tensor(np.zeros((0, 3)), "x")


def test_sniffing():
    assert is_matrix("-", npy(np.zeros(3)))
    for text in ("1 2", "\ufeff# c\n\n -1", "nan", ".5", "\N{MINUS SIGN}1"):
        assert is_matrix("-", text.encode())
    for data in (b"\x89PNG\r\n", b"GIF89a", b"P2\n1 1", b"#define x 3\nstatic", b"II*\0", b"1\0"):
        assert not is_matrix("-", data)
    assert is_matrix("a/B.TXT")
    assert not is_matrix("csv")


def test_fuzz():
    rng = np.random.default_rng(5)
    seeds = [npy(np.arange(12.0).reshape(3, 4)), b"1,2.5,-3\n4,1/9,6\n# c\nnan,inf,0\n"]
    for _ in range(3000):
        data = bytearray(seeds[rng.integers(2)])
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        data = bytes(data[: rng.integers(len(data) + 1)] if rng.random() < 0.5 else data)
        try:
            array = read_matrix("-", data, max_pixels=10_000)
            tensor = matrix_to_tensor(array, "-")
        except CnnvizError:
            continue
        assert 1 <= array.ndim <= 4
        assert tensor.ndim == 3


def test_does_not_import_pillow():
    import subprocess
    import sys

    code = "import sys, cnnviz.files.matrices; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
