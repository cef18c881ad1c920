"""The output folder: whole files or none, ours or not touched, whenever it stops."""

import errno
import json
import os
import threading
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cnnviz.errors import CnnvizError
from cnnviz.files import outputs
from cnnviz.files.outputs import RECORD_LIMIT, OutputFolder, write_file, write_whole

RECORD = {"cnnviz": "0.1.0", "pipeline": "conv(8)"}


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


# --- a plain run ---------------------------------------------------------------------------------


def test_a_run_writes_its_files_and_its_record(tmp_path):
    with OutputFolder(tmp_path / "deep" / "out", "cat") as folder:
        assert not folder.path.exists()  # nothing until the first file
        shown = folder.write("01_x_b.npy", b"B")
        folder.write("01_x_a.npy", b"A")
        recorded = folder.finish({**RECORD, "stages": []})
    assert shown == str(tmp_path / "deep" / "out" / "cat" / "01_x_b.npy")
    assert Path(recorded).name == "run.json"
    assert list(contents(folder.path)) == ["01_x_a.npy", "01_x_b.npy", "run.json"]
    assert (folder.path / "run.json").read_text() == (
        '{\n  "cnnviz": "0.1.0",\n  "pipeline": "conv(8)",\n  "stages": [],\n'
        '  "files": [\n    "01_x_b.npy",\n    "01_x_a.npy"\n  ]\n}\n'
    )


def test_paths_are_shown_as_out_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out, shown in [("out", "out/cat/01_x_a.npy"), (".", "cat/01_x_a.npy")]:
        assert OutputFolder(out, "cat").write("01_x_a.npy", b"") == str(Path(shown))


def test_two_runs_write_identical_bytes(tmp_path):
    files = {"01_x_b.npy": b"B", "01_x_a.npy": b"A"}
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
    folder = write_run(tmp_path, {"01_x_a.npy": b"A"})
    usual = (tmp_path / "usual").stat().st_mode
    assert (folder / "01_x_a.npy").stat().st_mode == usual
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
        path = OutputFolder(tmp_path, "cat").write_array("01_conv_big.npy", array)
        assert tracemalloc.get_traced_memory()[1] < 70 * 2**20
    finally:
        tracemalloc.stop()
    assert Path(path).stat().st_size == array.nbytes + 128
    Path(path).unlink()


def test_objects_are_never_pickled(tmp_path):
    folder = OutputFolder(tmp_path, "cat")
    with pytest.raises(ValueError, match=r"pickle|Object"):
        folder.write_array("01_x_a.npy", np.array([{}], dtype=object))
    assert contents(folder.path) == {}


# --- ours, stale and foreign ---------------------------------------------------------------------


def test_a_later_run_replaces_and_removes_what_an_earlier_one_wrote(tmp_path):
    write_run(tmp_path, {"01_x_a.npy": b"A", "01_x_b.npy": b"B", "01_x_c.npy": b"C"})
    (tmp_path / "cat" / "notes.txt").write_text("mine")
    folder = write_run(tmp_path, {"01_x_b.npy": b"B2", "01_x_d.npy": b"D"})
    found = contents(folder)
    assert list(found) == ["01_x_b.npy", "01_x_d.npy", "notes.txt", "run.json"]
    assert found["01_x_b.npy"] == b"B2"
    assert found["notes.txt"] == b"mine"
    assert listed(folder) == ["01_x_b.npy", "01_x_d.npy"]


def test_stale_files_stay_until_the_run_is_finished(tmp_path):
    write_run(tmp_path, {"01_x_a.npy": b"A", "01_x_b.npy": b"B"})
    with OutputFolder(tmp_path, "cat") as folder:
        folder.write("01_x_b.npy", b"B2")
    assert list(contents(folder.path)) == ["01_x_a.npy", "01_x_b.npy", "run.json"]


def test_a_foreign_file_is_not_overwritten_without_force(tmp_path):
    target = tmp_path / "cat" / "01_x_a.npy"
    target.parent.mkdir()
    target.write_bytes(b"mine")
    folder = OutputFolder(tmp_path, "cat")
    with pytest.raises(CnnvizError, match=r"a\.npy exists and was not written by cnnviz") as caught:
        folder.write("01_x_a.npy", b"A")
    assert "--force" in caught.value.hint
    assert caught.value.exit_code == 1
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        folder.check(["01_x_b.npy", "01_x_a.npy"])
    folder.check(["01_x_b.npy"])
    folder.discard()
    assert contents(target.parent) == {"01_x_a.npy": b"mine"}

    write_run(tmp_path, {"01_x_a.npy": b"A"}, force=True)
    assert target.read_bytes() == b"A"
    write_run(tmp_path, {"01_x_a.npy": b"A2"})  # ours from now on
    assert target.read_bytes() == b"A2"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[1, 2]",
        b'{"files": ["01_x_a.npy"]}',
        b'{"cnnviz": "1", "files": "01_x_a.npy"}',
        b'{"cnnviz": "1", "files": {"01_x_a.npy": 1}}',
        b'{"cnnviz": "1"}',
        b"[" * 200_000,
        b'{"cnnviz": ' + b"1" * 10_000 + b', "files": ["01_x_a.npy"]}',
    ],
)
def test_a_foreign_run_json_is_respected(tmp_path, garbage):
    home = tmp_path / "cat"
    home.mkdir()
    (home / "run.json").write_bytes(garbage)
    (home / "01_x_a.npy").write_bytes(b"mine")
    before = contents(home)
    folder = OutputFolder(tmp_path, "cat")
    for act in (
        folder.check,
        lambda: folder.write("01_x_b.npy", b"B"),
        lambda: folder.finish(RECORD),
    ):
        with pytest.raises(CnnvizError, match=r"run\.json exists and was not written by cnnviz"):
            act()
    folder.discard()
    assert contents(home) == before
    write_run(tmp_path, {"01_x_b.npy": b"B"}, force=True)
    assert listed(home) == ["01_x_b.npy"]
    assert (home / "01_x_a.npy").read_bytes() == b"mine"


def test_a_huge_run_json_is_not_read(tmp_path):
    write_run(tmp_path, {"01_x_a.npy": b"A"})
    with (tmp_path / "cat" / "run.json").open("ab") as record:
        record.write(b" " * RECORD_LIMIT)
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        OutputFolder(tmp_path, "cat").check()


def test_a_hostile_run_json_removes_nothing_outside_its_folder(tmp_path):
    outside = tmp_path / "x"
    outside.write_text("keep")
    home = tmp_path / "cat"
    (home / "sub").mkdir(parents=True)
    (home / "sub" / "y").write_text("keep")
    (home / ".hidden").write_text("keep")
    (home / "01_x_link.npy").symlink_to(outside)
    for name in ("photo.png", "notes.md", "01_beach.png"):
        (home / name).write_text("keep")
    (home / "01_x_stale.npy").write_text("remove")
    names = ["../x", str(outside), "sub/y", "sub", "sub/../../x", "..", ".", "", "run.json"]
    names += ["..\\x", "C:x", ".hidden", "a\0b", "a\nb", "\ud800", 7, None, ["x"], "gone"]
    names += ["photo.png", "notes.md", "01_beach.png", "01_x_link.npy"]
    names += ["n" * 5000, "01_x_stale.npy", "01_x_stale.npy"]
    (home / "run.json").write_text(json.dumps({"cnnviz": "1", "files": names}))
    write_run(tmp_path, {"01_x_a.npy": b"A"})
    assert outside.read_text() == "keep"
    assert (home / "sub" / "y").read_text() == "keep"
    kept = {".hidden", "sub", "photo.png", "notes.md", "01_beach.png"}
    assert {p.name for p in home.iterdir()} == kept | {"01_x_a.npy", "run.json"}


def test_a_symlink_in_place_of_a_file_is_replaced_not_followed(tmp_path):
    outside = tmp_path / "x"
    outside.write_text("keep")
    home = tmp_path / "cat"
    home.mkdir()
    (home / "01_x_a.npy").symlink_to(outside)
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        OutputFolder(tmp_path, "cat").write("01_x_a.npy", b"A")
    write_run(tmp_path, {"01_x_a.npy": b"A"}, force=True)
    assert outside.read_text() == "keep"
    assert not (home / "01_x_a.npy").is_symlink()
    assert (home / "01_x_a.npy").read_bytes() == b"A"


def test_an_old_name_that_is_this_runs_file_is_not_removed(tmp_path):
    """On a file system that folds case, A and a are one file."""
    home = write_run(tmp_path, {"01_x_A.npy": b"A"})
    with OutputFolder(tmp_path, "cat") as folder:
        folder.write("01_x_a.npy", b"B")
        (home / "01_x_A.npy").unlink()
        (home / "01_x_A.npy").hardlink_to(home / "01_x_a.npy")  # as a folding file system answers
        folder.finish(RECORD)
    assert (home / "01_x_a.npy").read_bytes() == b"B"
    assert (home / "01_x_A.npy").exists()  # removing it would have removed a there


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
                folder.plan(["01_x_b.npy", "01_x_c.npy", "01_x_e.npy"])
            folder.write("01_x_b.npy", b"B2")
            folder.write("01_x_c.npy", b"C2")
            folder.write("01_x_e.npy", b"E2")
            folder.finish({"cnnviz": "2"})

    alive, steps = False, 0
    while not alive:
        steps += 1
        out = tmp_path / str(steps)
        home = write_run(out, {"01_x_a.npy": b"A", "01_x_b.npy": b"B"})
        (home / "notes.txt").write_text("mine")
        with monkeypatch.context() as patch:
            kill_at(steps, patch)
            try:
                attempt(out)
                alive = True
            except Killed:
                pass
        pictures = {path.name: path.read_bytes() for path in home.glob("*.npy")}
        assert set(pictures) <= set(listed(home)), f"step {steps}"
        assert set(pictures.values()) <= {b"A", b"B", b"B2", b"C2", b"E2"}
        write_run(out, {"01_x_d.npy": b"D"})  # needs no --force, leaves nothing stale
        assert list(contents(home)) == ["01_x_d.npy", "notes.txt", "run.json"], f"step {steps}"
    assert steps > 30


def test_killed_at_any_moment_of_the_first_run(tmp_path, monkeypatch):
    alive, steps = False, 0
    while not alive:
        steps += 1
        out = tmp_path / str(steps)
        with monkeypatch.context() as patch:
            kill_at(steps, patch)
            try:
                write_run(out, {"01_x_a.npy": b"A", "01_x_b.npy": b"B"})
                alive = True
            except Killed:
                pass
        home = write_run(out, {"01_x_d.npy": b"D"})
        assert list(contents(home)) == ["01_x_d.npy", "run.json"], f"step {steps}"
    assert steps > 20


def test_an_interrupted_run_says_so_and_the_next_one_cleans_up(tmp_path):
    home = write_run(tmp_path, {"01_x_a.npy": b"A", "01_x_b.npy": b"B"})

    def interrupted():
        with OutputFolder(tmp_path, "cat") as folder:
            folder.write("01_x_b.npy", b"B2")
            folder.write("01_x_c.npy", b"C2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads((home / "run.json").read_text()) == {
        "cnnviz": "unfinished",
        "process": os.getpid(),
        "files": ["01_x_a.npy", "01_x_b.npy", "01_x_c.npy"],
    }
    write_run(tmp_path, {"01_x_c.npy": b"C3"})
    assert list(contents(home)) == ["01_x_c.npy", "run.json"]


def test_an_interrupted_first_run_is_known_as_ours(tmp_path):
    with OutputFolder(tmp_path, "cat") as folder:
        folder.write("01_x_a.npy", b"A")
    assert listed(folder.path) == ["01_x_a.npy"]
    folder.discard()  # twice is no harm
    write_run(tmp_path, {"01_x_a.npy": b"A2"})
    assert (folder.path / "01_x_a.npy").read_bytes() == b"A2"


def test_ctrl_c_while_a_file_is_written_leaves_nothing_of_it(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    def attempt():
        with OutputFolder(tmp_path, "cat") as folder:
            folder.write("01_x_a.npy", b"A")

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert contents(tmp_path) == {}  # not even the folder


def test_planned_names_are_listed_at_once(tmp_path, monkeypatch):
    names = [f"01_relu_relu1_c{i:05d}.png" for i in range(500)]
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
    (tmp_path / "cat" / "01_x_a.npy").write_bytes(b"mine")
    folder = OutputFolder(tmp_path, "cat")
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        folder.plan(["01_x_b.npy", "01_x_a.npy"])
    folder.write("01_x_b.npy", b"B")
    with pytest.raises(CnnvizError, match="not written by cnnviz"):
        folder.write("01_x_a.npy", b"A")


# --- two runs at once ----------------------------------------------------------------------------


def test_a_second_run_waits_and_then_says_who_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "PATIENCE", 3)
    with OutputFolder(tmp_path, "cat") as first:
        first.write("01_x_a.npy", b"A")
        with OutputFolder(tmp_path, "cat", record="explain.json") as second:
            second.check(["01_x_a.npy"])  # whose it is shows when the first has ended
            with pytest.raises(CnnvizError, match=rf"\(process {os.getpid()}\) writes in") as busy:
                second.write("01_x_b.npy", b"B")
        assert "--out" in busy.value.hint
        first.finish(RECORD)
        assert list(contents(first.path)) == ["01_x_a.npy", "run.json"]
        with OutputFolder(tmp_path, "cat") as second:
            second.write("01_x_b.npy", b"B")
            second.finish(RECORD)
    assert list(contents(first.path)) == ["01_x_b.npy", "run.json"]


def test_what_is_ours_is_read_when_the_first_has_ended(tmp_path):
    first, second = (OutputFolder(tmp_path, "cat") for _ in range(2))
    first.write("01_x_a.npy", b"A")
    second.keep(tmp_path / "cat" / "01_x_b.npy")
    waiting = threading.Thread(target=second.write, args=("01_x_a.npy", b"A2"))
    waiting.start()
    for name in ("01_x_b.npy", "01_x_c.npy"):
        first.write(name, b"old")
    first.finish(RECORD)
    waiting.join()
    second.finish(RECORD)
    assert second.replaced == 3
    assert listed(second.path) == ["01_x_b.npy", "01_x_a.npy"]
    assert contents(second.path).keys() == {"01_x_a.npy", "01_x_b.npy", "run.json"}


def test_a_folder_that_the_first_run_removes_is_made_again(tmp_path):
    def fail(_):
        raise ValueError

    first, second = (OutputFolder(tmp_path / "out", "cat") for _ in range(2))
    with pytest.raises(ValueError):  # noqa: PT011
        first.write_by("01_x_a.npy", fail)
    waiting = threading.Thread(target=second.write, args=("01_x_b.npy", b"B"))
    waiting.start()
    first.discard()
    waiting.join()
    second.finish(RECORD)
    assert list(contents(second.path)) == ["01_x_b.npy", "run.json"]


def test_only_temporary_files_of_dead_processes_are_removed(tmp_path):
    home = tmp_path / "cat"
    home.mkdir()
    dead, alive = (home / f".cnnviz-{n}-{'0' * 16}.tmp" for n in (2**22 + 1, os.getppid()))
    for path in (dead, alive, home / ".cnnviz-notes.tmp"):
        path.touch()
    write_run(tmp_path, {"01_x_a.npy": b"A"})
    assert set(contents(home)) == {alive.name, ".cnnviz-notes.tmp", "01_x_a.npy", "run.json"}


# --- what a record holds -------------------------------------------------------------------------


def test_a_record_that_would_be_too_long_does_without_its_longest_part(tmp_path):
    with OutputFolder(tmp_path, "cat") as folder:
        folder.write("01_x_a.npy", b"A")
        folder.finish({**RECORD, "stages": ["x" * 100] * (RECORD_LIMIT // 100), "seed": 1})
    assert json.loads((folder.path / "run.json").read_text()) == {
        **RECORD, "seed": 1, "files": ["01_x_a.npy"],
    }  # fmt: skip
    write_run(tmp_path, {"01_x_a.npy": b"A2"})  # still known as ours


def test_more_files_than_a_record_can_list_are_refused_before_any_is_written(tmp_path):
    with OutputFolder(tmp_path, "cat") as folder:
        folder.plan(f"01_conv_conv1_c{i:06d}.png" for i in range(130_000))
        with pytest.raises(CnnvizError, match="cannot list so many files"):
            folder.write("00_input.png", b"x")
    assert contents(tmp_path) == {}


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
                folder.write("01_x_a.npy", data)
            else:
                folder.write_array("01_x_a.npy", np.frombuffer(data, np.uint8))

    full_disk_on(step, monkeypatch)
    with pytest.raises(CnnvizError, match=r"cannot write .*a\.npy: the disk is full") as caught:
        attempt()
    assert "free some space" in caught.value.hint
    assert contents(tmp_path) == {}


def test_a_disk_that_fills_up_keeps_what_was_written_known_as_ours(tmp_path, monkeypatch):
    home = write_run(tmp_path, {"01_x_a.npy": b"A"})

    def attempt():
        with OutputFolder(tmp_path, "cat") as folder:
            folder.write("01_x_b.npy", b"B")
            full_disk_on("flush", monkeypatch)
            folder.write("01_x_a.npy", b"A2")

    with pytest.raises(CnnvizError, match="disk is full"):
        attempt()
    monkeypatch.undo()
    assert set(contents(home)) == {"01_x_a.npy", "01_x_b.npy", "run.json"}
    assert (home / "01_x_a.npy").read_bytes() == b"A"
    assert set(listed(home)) == {"01_x_a.npy", "01_x_b.npy"}
    write_run(tmp_path, {"01_x_c.npy": b"C"})
    assert list(contents(home)) == ["01_x_c.npy", "run.json"]


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
                folder.write("01_x_a.npy", b"A")
            assert caught.value.exit_code == 1
            assert "--out" in caught.value.hint
        folder.discard()
        assert contents(tmp_path) == {}


def test_a_stale_file_that_cannot_be_removed_is_still_listed(tmp_path, monkeypatch):
    home = write_run(tmp_path, {"01_x_a.npy": b"A"})
    unlink = Path.unlink

    def refuse(self, **options):
        if self.name == "01_x_a.npy":
            raise PermissionError(errno.EACCES, "no")
        unlink(self, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(CnnvizError, match=r"cannot remove .*a\.npy: no permission"):
        write_run(tmp_path, {"01_x_b.npy": b"B"})
    assert set(listed(home)) == {"01_x_a.npy", "01_x_b.npy"}


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    for out, stem in [
        (tmp_path / "out", "cat"),
        (tmp_path, "out"),
        (tmp_path / "out" / "x", "cat"),
    ]:
        folder = OutputFolder(out, stem, force=True)
        writing = partial(folder.write, "01_x_a.npy", b"")
        for act in (folder.check, writing, partial(folder.finish, {})):
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
    (tmp_path / "cat" / "01_x_a.npy").mkdir(parents=True)
    with pytest.raises(CnnvizError, match=r"cannot write .*a\.npy: a folder is in its place"):
        write_run(tmp_path, {"01_x_a.npy": b"A"}, force=True)
    assert [p.name for p in (tmp_path / "cat").iterdir()] == ["01_x_a.npy"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["01_x_a.npy", "run.json"])
def test_a_pipe_in_place_of_a_file_is_neither_opened_nor_replaced(tmp_path, name):
    (tmp_path / "cat").mkdir()
    pipe = tmp_path / "cat" / name
    os.mkfifo(pipe)
    for act in (
        lambda: write_run(tmp_path, {"01_x_a.npy": b"A"}, force=True),
        lambda: write_file(pipe, b"x", mark=b"x", force=True),
        lambda: write_whole(pipe, lambda file: file.write(b"x")),
    ):
        with pytest.raises(CnnvizError, match="is a pipe or a device, not a file"):
            act()
    assert pipe.is_fifo()
    assert [path.name for path in (tmp_path / "cat").iterdir()] == [name]


def test_names_too_long_for_the_file_system(tmp_path):
    with pytest.raises(CnnvizError, match="the name is too long") as caught:
        write_run(tmp_path, {f"01_relu_{'n' * 300}.npy": b"A"})
    assert "shorten" in caught.value.hint
    folder = OutputFolder(tmp_path, "s" * 300)
    with pytest.raises(CnnvizError, match="the name is too long"):
        folder.write("01_x_a.npy", b"A")
    assert contents(tmp_path) == {}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_place_where_nothing_can_be_made():
    with pytest.raises(CnnvizError, match=r"cannot (create|write in) /proc"):
        OutputFolder("/proc/out", "cat").write("01_x_a.npy", b"A")
