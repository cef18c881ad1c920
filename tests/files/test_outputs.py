"""The output folder: whole files or none, ours or not touched, whenever it stops."""

import errno
import json
import os
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cnnviz.core.types import Row
from cnnviz.errors import CnnvizError
from cnnviz.files.outputs import (
    RECORD_LIMIT,
    OutputFolder,
    array_name,
    grid_name,
    map_name,
)

RECORD = {"cnnviz": "0.1.0", "pipeline": "conv(8)"}


def row(index=3, layer="conv", name="conv2"):
    return Row(
        index=index,
        name=name,
        layer=layer,
        text=layer,
        settings={},
        inputs=("input",),
        input_shape=(1, 2, 2),
        output_shape=(1, 2, 2),
        kernel_size=None,
        stride=None,
        padding=None,
        dilation=None,
        groups=None,
        params=0,
        macs=0,
        receptive_field=None,
        effective_stride=None,
        effective_padding=None,
        memory_bytes=16,
        weights=None,
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def listed(folder):
    return json.loads((Path(folder) / "run.json").read_text("utf-8"))["files"]


def write_run(out, files, **options):
    with OutputFolder(out, "cat", **options) as folder:
        for name, data in files.items():
            folder.write(name, data)
        folder.finish(RECORD)
    return folder.path


# --- names ---------------------------------------------------------------------------------------


def test_names():
    assert map_name(row(), 7) == "03_conv_conv2_c007.png"
    assert map_name(row(index=123), 1234) == "123_conv_conv2_c1234.png"
    assert grid_name(row(1, "maxpool", "layer1.0-pool")) == "01_maxpool_layer1.0-pool_grid.png"
    assert array_name(row()) == "03_conv_conv2.npy"


# --- a plain run ---------------------------------------------------------------------------------


def test_a_run_writes_its_files_and_its_record(tmp_path):
    with OutputFolder(tmp_path / "deep" / "out", "cat") as folder:
        assert not folder.path.exists()  # nothing until the first file
        shown = folder.write("b.png", b"B")
        folder.write("a.png", b"A")
        recorded = folder.finish({**RECORD, "stages": []})
    assert shown == str(tmp_path / "deep" / "out" / "cat" / "b.png")
    assert Path(recorded).name == "run.json"
    assert list(contents(folder.path)) == ["a.png", "b.png", "run.json"]
    assert (folder.path / "run.json").read_text() == (
        '{\n  "cnnviz": "0.1.0",\n  "pipeline": "conv(8)",\n  "stages": [],\n'
        '  "files": [\n    "b.png",\n    "a.png"\n  ]\n}\n'
    )


def test_paths_are_shown_as_out_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert OutputFolder("out", "cat").write("a.png", b"") == str(Path("out/cat/a.png"))
    assert OutputFolder(".", "dog").write("a.png", b"") == str(Path("dog/a.png"))


def test_two_runs_write_identical_bytes(tmp_path):
    files = {"b.png": b"B", "a.png": b"A"}
    first = contents(write_run(tmp_path, files))
    assert contents(write_run(tmp_path, files)) == first
    assert contents(write_run(tmp_path / "other", files)) == first


def test_the_record_holds_no_nan_and_keeps_its_order(tmp_path):
    record = MappingProxyType(
        {
            "zeta": np.float32("nan"),
            "alpha": [float("inf"), -np.inf, np.int64(3), (1.5, None)],
            "settings": MappingProxyType({"k": np.array([[1.0, np.nan]])}),
            "path": Path("föhn\udcff.png"),
        }
    )
    folder = OutputFolder(tmp_path, "cat")
    path = Path(folder.finish(record))
    saved = json.loads(path.read_bytes(), parse_constant=pytest.fail)
    assert list(saved) == ["cnnviz", "zeta", "alpha", "settings", "path", "files"]
    assert saved["zeta"] is None
    assert saved["alpha"] == [None, None, 3, [1.5, None]]
    assert saved["settings"] == {"k": [[1.0, None]]}
    assert saved["path"] == "föhn\udcff.png"
    assert "föhn" in path.read_text("utf-8")
    folder = OutputFolder(tmp_path, "cat")  # a record without a version is known as ours too
    folder.check()


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    folder = write_run(tmp_path, {"a.png": b"A"})
    usual = (tmp_path / "usual").stat().st_mode
    assert (folder / "a.png").stat().st_mode == usual
    assert (folder / "run.json").stat().st_mode == usual


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::2, ::-1],
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.arange(5, dtype=np.float32),
        np.zeros((0, 3), np.float32),
    ],
)
def test_arrays_load_back(tmp_path, array):
    path = OutputFolder(tmp_path, "cat").write_array("03_conv_conv2.npy", array)
    loaded = np.load(path, allow_pickle=False)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, array)


def test_arrays_are_written_in_pieces(tmp_path):
    import tracemalloc

    array = np.ones((64, 1024, 1024), np.float32)  # 256 MB
    tracemalloc.start()
    try:
        path = OutputFolder(tmp_path, "cat").write_array("big.npy", array)
        assert tracemalloc.get_traced_memory()[1] < 70 * 2**20
    finally:
        tracemalloc.stop()
    assert Path(path).stat().st_size == array.nbytes + 128
    Path(path).unlink()


def test_objects_are_never_pickled(tmp_path):
    folder = OutputFolder(tmp_path, "cat")
    with pytest.raises(ValueError, match=r"pickle|Object"):
        folder.write_array("a.npy", np.array([{}], dtype=object))
    assert contents(folder.path) == {}


# --- ours, stale and foreign ---------------------------------------------------------------------


def test_a_later_run_replaces_and_removes_what_an_earlier_one_wrote(tmp_path):
    write_run(tmp_path, {"a.png": b"A", "b.png": b"B", "c.npy": b"C"})
    (tmp_path / "cat" / "notes.txt").write_text("mine")
    folder = write_run(tmp_path, {"b.png": b"B2", "d.png": b"D"})
    found = contents(folder)
    assert list(found) == ["b.png", "d.png", "notes.txt", "run.json"]
    assert found["b.png"] == b"B2"
    assert found["notes.txt"] == b"mine"
    assert listed(folder) == ["b.png", "d.png"]


def test_stale_files_stay_until_the_run_is_finished(tmp_path):
    write_run(tmp_path, {"a.png": b"A", "b.png": b"B"})
    with OutputFolder(tmp_path, "cat") as folder:
        folder.write("b.png", b"B2")
    assert list(contents(folder.path)) == ["a.png", "b.png", "run.json"]


def test_a_foreign_file_is_not_overwritten_without_force(tmp_path):
    target = tmp_path / "cat" / "a.png"
    target.parent.mkdir()
    target.write_bytes(b"mine")
    folder = OutputFolder(tmp_path, "cat")
    with pytest.raises(CnnvizError, match=r"a\.png exists and was not written by cnnviz") as caught:
        folder.write("a.png", b"A")
    assert "--force" in caught.value.hint
    assert caught.value.exit_code == 1
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        folder.check(["b.png", "a.png"])
    folder.check(["b.png"])
    folder.discard()
    assert contents(target.parent) == {"a.png": b"mine"}

    write_run(tmp_path, {"a.png": b"A"}, force=True)
    assert target.read_bytes() == b"A"
    write_run(tmp_path, {"a.png": b"A2"})  # ours from now on
    assert target.read_bytes() == b"A2"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[1, 2]",
        b'{"files": ["a.png"]}',
        b'{"cnnviz": "1", "files": "a.png"}',
        b'{"cnnviz": "1", "files": {"a.png": 1}}',
        b'{"cnnviz": "1"}',
        b"[" * 200_000,
        b'{"cnnviz": ' + b"1" * 10_000 + b', "files": ["a.png"]}',
    ],
)
def test_a_foreign_run_json_is_respected(tmp_path, garbage):
    home = tmp_path / "cat"
    home.mkdir()
    (home / "run.json").write_bytes(garbage)
    (home / "a.png").write_bytes(b"mine")
    before = contents(home)
    folder = OutputFolder(tmp_path, "cat")
    for act in (folder.check, lambda: folder.write("b.png", b"B"), lambda: folder.finish(RECORD)):
        with pytest.raises(CnnvizError, match=r"run\.json exists and was not written by cnnviz"):
            act()
    folder.discard()
    assert contents(home) == before
    write_run(tmp_path, {"b.png": b"B"}, force=True)
    assert listed(home) == ["b.png"]
    assert (home / "a.png").read_bytes() == b"mine"


def test_a_huge_run_json_is_not_read(tmp_path):
    write_run(tmp_path, {"a.png": b"A"})
    with (tmp_path / "cat" / "run.json").open("ab") as record:
        record.write(b" " * RECORD_LIMIT)
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        OutputFolder(tmp_path, "cat").check()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_run_json_does_not_hang(tmp_path):
    (tmp_path / "cat").mkdir()
    os.mkfifo(tmp_path / "cat" / "run.json")
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        OutputFolder(tmp_path, "cat").check()


def test_a_hostile_run_json_removes_nothing_outside_its_folder(tmp_path):
    outside = tmp_path / "x"
    outside.write_text("keep")
    home = tmp_path / "cat"
    (home / "sub").mkdir(parents=True)
    (home / "sub" / "y").write_text("keep")
    (home / ".hidden").write_text("keep")
    (home / "link").symlink_to(outside)
    (home / "stale.png").write_text("remove")
    names = ["../x", str(outside), "sub/y", "sub", "sub/../../x", "..", ".", "", "run.json"]
    names += ["..\\x", "C:x", ".hidden", "a\0b", "a\nb", "\ud800", 7, None, ["x"], "gone", "link"]
    names += ["n" * 5000, "stale.png", "stale.png"]
    (home / "run.json").write_text(json.dumps({"cnnviz": "1", "files": names}))
    write_run(tmp_path, {"a.png": b"A"})
    assert outside.read_text() == "keep"
    assert (home / "sub" / "y").read_text() == "keep"
    assert sorted(p.name for p in home.iterdir()) == [".hidden", "a.png", "run.json", "sub"]


def test_a_symlink_in_place_of_a_file_is_replaced_not_followed(tmp_path):
    outside = tmp_path / "x"
    outside.write_text("keep")
    home = tmp_path / "cat"
    home.mkdir()
    (home / "a.png").symlink_to(outside)
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        OutputFolder(tmp_path, "cat").write("a.png", b"A")
    write_run(tmp_path, {"a.png": b"A"}, force=True)
    assert outside.read_text() == "keep"
    assert not (home / "a.png").is_symlink()
    assert (home / "a.png").read_bytes() == b"A"


def test_an_old_name_that_is_this_runs_file_is_not_removed(tmp_path):
    """On a file system that folds case, Relu.png and relu.png are one file."""
    home = write_run(tmp_path, {"Relu.png": b"A"})
    with OutputFolder(tmp_path, "cat") as folder:
        folder.write("relu.png", b"B")
        (home / "Relu.png").unlink()
        (home / "Relu.png").hardlink_to(home / "relu.png")  # as a folding file system answers
        folder.finish(RECORD)
    assert (home / "relu.png").read_bytes() == b"B"
    assert (home / "Relu.png").exists()  # removing it would have removed relu.png there


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "a/b", "../a", "a\\b", "/a", "C:a", "a\0b", "a\nb", "run.json"]
)
def test_only_plain_names_are_written(tmp_path, name):
    folder = OutputFolder(tmp_path, "cat", force=True)
    with pytest.raises(CnnvizError, match="cannot name a file"):
        folder.write(name, b"A")
    folder.discard()
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("stem", ["", ".", "..", "a/b", "/a", "a\0"])
def test_only_plain_stems_are_taken(tmp_path, stem):
    with pytest.raises(CnnvizError, match="cannot name a folder"):
        OutputFolder(tmp_path, stem)


# --- killed at any moment ------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: from here on nothing reaches the disk, no clean-up either."""


def kill_at(last, patch):
    """Die before or after the last-th change of the disk (odd: before, even: after)."""
    step = 0

    def dying(function):
        def wrapper(*args, **options):
            nonlocal step
            step += 1
            if step >= last:
                raise Killed
            result = function(*args, **options)
            step += 1
            if step >= last:
                if hasattr(result, "close"):
                    result.close()
                raise Killed
            return result

        return wrapper

    for name in ("open", "replace", "unlink", "mkdir", "rmdir"):
        patch.setattr(Path, name, dying(getattr(Path, name)))


@pytest.mark.parametrize("planned", [False, True])
def test_killed_at_any_moment_everything_written_is_still_known_as_ours(
    tmp_path, monkeypatch, planned
):
    def attempt(out):
        with OutputFolder(out, "cat") as folder:
            if planned:
                folder.plan(["b.png", "c.png", "e.png"])
            folder.write("b.png", b"B2")
            folder.write("c.png", b"C2")
            folder.write("e.png", b"E2")
            folder.finish({"cnnviz": "2"})

    alive, steps = False, 0
    while not alive:
        steps += 1
        out = tmp_path / str(steps)
        home = write_run(out, {"a.png": b"A", "b.png": b"B"})
        (home / "notes.txt").write_text("mine")
        with monkeypatch.context() as patch:
            kill_at(steps, patch)
            try:
                attempt(out)
                alive = True
            except Killed:
                pass
        pictures = {path.name: path.read_bytes() for path in home.glob("*.png")}
        assert set(pictures) <= set(listed(home)), f"step {steps}"
        assert set(pictures.values()) <= {b"A", b"B", b"B2", b"C2", b"E2"}
        write_run(out, {"d.png": b"D"})  # needs no --force, leaves nothing stale
        assert list(contents(home)) == ["d.png", "notes.txt", "run.json"], f"step {steps}"
    assert steps > 30


def test_killed_at_any_moment_of_the_first_run(tmp_path, monkeypatch):
    alive, steps = False, 0
    while not alive:
        steps += 1
        out = tmp_path / str(steps)
        with monkeypatch.context() as patch:
            kill_at(steps, patch)
            try:
                write_run(out, {"a.png": b"A", "b.png": b"B"})
                alive = True
            except Killed:
                pass
        home = write_run(out, {"d.png": b"D"})
        assert list(contents(home)) == ["d.png", "run.json"], f"step {steps}"
    assert steps > 20


def test_an_interrupted_run_says_so_and_the_next_one_cleans_up(tmp_path):
    home = write_run(tmp_path, {"a.png": b"A", "b.png": b"B"})

    def interrupted():
        with OutputFolder(tmp_path, "cat") as folder:
            folder.write("b.png", b"B2")
            folder.write("c.png", b"C2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads((home / "run.json").read_text()) == {
        "cnnviz": "unfinished",
        "files": ["a.png", "b.png", "c.png"],
    }
    write_run(tmp_path, {"c.png": b"C3"})
    assert list(contents(home)) == ["c.png", "run.json"]


def test_an_interrupted_first_run_is_known_as_ours(tmp_path):
    with OutputFolder(tmp_path, "cat") as folder:
        folder.write("a.png", b"A")
    assert listed(folder.path) == ["a.png"]
    folder.discard()  # twice is no harm
    write_run(tmp_path, {"a.png": b"A2"})
    assert (folder.path / "a.png").read_bytes() == b"A2"


def test_ctrl_c_while_a_file_is_written_leaves_nothing_of_it(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    def attempt():
        with OutputFolder(tmp_path, "cat") as folder:
            folder.write("a.png", b"A")

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert contents(tmp_path) == {}  # not even the folder


def test_planned_names_are_listed_at_once(tmp_path, monkeypatch):
    names = [f"{i:05d}.png" for i in range(500)]
    folder = OutputFolder(tmp_path, "cat")
    folder.plan(names)
    assert contents(tmp_path) == {}
    replaced = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda a, b: replaced.append(b.name) or replace(a, b))
    for name in names:
        folder.write(name, b"x")
    folder.finish(RECORD)
    assert replaced == ["run.json", *names, "run.json"]
    assert listed(folder.path) == names


def test_a_planned_name_that_is_foreign_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"mine")
    folder = OutputFolder(tmp_path, "cat")
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        folder.plan(["b.png", "a.png"])
    folder.write("b.png", b"B")
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        folder.write("a.png", b"A")


# --- the system says no --------------------------------------------------------------------------


def full_disk_on(step, monkeypatch):
    """Make one step of writing a.png or a.npy fail as on a full disk."""
    replace = Path.replace

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "replace":
        monkeypatch.setattr(
            Path,
            "replace",
            lambda self, to: replace(self, to) if to.name == "run.json" else refuse(),
        )
    elif step == "create":
        monkeypatch.setattr(Path, "open", refuse)
    else:
        opened = Path.open

        def open_full(self, *args, **options):
            if self.suffix == ".tmp":
                self.touch()
                return open("/dev/full", "wb")  # noqa: PTH123
            return opened(self, *args, **options)

        monkeypatch.setattr(Path, "open", open_full)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("step", ["create", "flush", "write", "replace"])
@pytest.mark.parametrize("kind", ["bytes", "array"])
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, monkeypatch, step, kind):
    data = b"x" * (10 if step == "flush" else 10_000_000)

    def attempt():
        with OutputFolder(tmp_path / "out", "cat") as folder:
            if kind == "bytes":
                folder.write("a.png", data)
            else:
                folder.write_array("a.png", np.frombuffer(data, np.uint8))

    full_disk_on(step, monkeypatch)
    with pytest.raises(CnnvizError, match=r"cannot write .*a\.png: the disk is full") as caught:
        attempt()
    assert "free some space" in caught.value.hint
    assert contents(tmp_path) == {}


def test_a_disk_that_fills_up_keeps_what_was_written_known_as_ours(tmp_path, monkeypatch):
    home = write_run(tmp_path, {"a.png": b"A"})

    def attempt():
        with OutputFolder(tmp_path, "cat") as folder:
            folder.write("b.png", b"B")
            full_disk_on("flush", monkeypatch)
            folder.write("a.png", b"A2")

    with pytest.raises(CnnvizError, match="disk is full"):
        attempt()
    monkeypatch.undo()
    assert set(contents(home)) == {"a.png", "b.png", "run.json"}
    assert (home / "a.png").read_bytes() == b"A"
    assert set(listed(home)) == {"a.png", "b.png"}
    write_run(tmp_path, {"c.png": b"C"})
    assert list(contents(home)) == ["c.png", "run.json"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_every_refusal_of_the_system_is_one_error(tmp_path, monkeypatch, number, words):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    for method, match in [("mkdir", "create"), ("open", "write"), ("replace", "write")]:
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, refuse)
            folder = OutputFolder(tmp_path, "cat")
            with pytest.raises(CnnvizError, match=f"cannot {match} .*cat.*{words}") as caught:
                folder.write("a.png", b"A")
            assert caught.value.exit_code == 1
            assert "--out" in caught.value.hint
        folder.discard()
        assert contents(tmp_path) == {}


def test_a_stale_file_that_cannot_be_removed_is_still_listed(tmp_path, monkeypatch):
    home = write_run(tmp_path, {"a.png": b"A"})
    unlink = Path.unlink

    def refuse(self, **options):
        if self.name == "a.png":
            raise PermissionError(errno.EACCES, "no")
        unlink(self, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(CnnvizError, match=r"cannot remove .*a\.png: no permission"):
        write_run(tmp_path, {"b.png": b"B"})
    assert set(listed(home)) == {"a.png", "b.png"}


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    for out, stem in [
        (tmp_path / "out", "cat"),
        (tmp_path, "out"),
        (tmp_path / "out" / "x", "cat"),
    ]:
        folder = OutputFolder(out, stem, force=True)
        for act in (folder.check, lambda: folder.write("a.png", b""), lambda: folder.finish({})):  # noqa: B023
            with pytest.raises(CnnvizError, match="out is not a folder") as caught:
                act()
            assert "--out" in caught.value.hint
        folder.discard()
    assert (tmp_path / "out").read_text() == "mine"


def test_a_dangling_link_in_place_of_the_folder(tmp_path):
    (tmp_path / "cat").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CnnvizError, match="cat is not a folder"):
        OutputFolder(tmp_path, "cat").check()


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "cat" / "a.png").mkdir(parents=True)
    with pytest.raises(CnnvizError, match=r"cannot write .*a\.png: a folder is in its place"):
        write_run(tmp_path, {"a.png": b"A"}, force=True)
    assert [p.name for p in (tmp_path / "cat").iterdir()] == ["a.png"]


def test_names_too_long_for_the_file_system(tmp_path):
    with pytest.raises(CnnvizError, match="the name is too long") as caught:
        write_run(tmp_path, {"n" * 300 + ".png": b"A"})
    assert "shorten" in caught.value.hint
    folder = OutputFolder(tmp_path, "s" * 300)
    with pytest.raises(CnnvizError, match="the name is too long"):
        folder.write("a.png", b"A")
    assert contents(tmp_path) == {}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_place_where_nothing_can_be_made():
    with pytest.raises(CnnvizError, match=r"cannot (create|write in) /proc"):
        OutputFolder("/proc/out", "cat").write("a.png", b"A")
