"""Memory: what is said before it runs out."""

import subprocess
import sys

import pytest

from cnnviz.core.memory import check_memory, group_limits
from cnnviz.errors import CnnvizError


@pytest.fixture
def root(tmp_path):
    """Control groups in a folder, as below /sys/fs/cgroup."""
    for path, text in {
        "a/b/memory.max": "3000\n", "a/memory.max": "max\n", "memory.max": "9000\n",
        "memory/c/d/memory.limit_in_bytes": "500\n", "memory/c/memory.limit_in_bytes": "400\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    }.items():  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "limits"),
    [
        ("0::/a/b\n", [3000, 9000]),
        ("0::/\n", [9000]),
        ("0::/gone/c\n", [9000]),  # in a container, which sees its own group as the root
        ("9:cpu:/a/b\n4:memory:/c/d\n", [500, 400, 9223372036854771712]),
        ("4:pids,memory:/c\n0::/a\n", [400, 9223372036854771712, 9000]),
        ("", []),
    ],
)
def test_limits_of_groups_and_those_around_them(root, lines, limits):
    groups = root / "cgroup"
    groups.write_text(lines)
    assert list(group_limits(groups, root)) == limits
    assert list(group_limits(root / "missing", root)) == []


def test_more_than_there_is():
    check_memory(1)
    with pytest.raises(
        CnnvizError, match=r"1,048,576\.00 GiB, this (machine has|process may have) "
    ):
        check_memory(2**50)


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_more_than_this_process_may_have(limit):
    pytest.importorskip("resource")
    code = f"""
import resource
from cnnviz.core.memory import check_memory
resource.setrlimit(resource.{limit}, (2**40, 2**40))
check_memory(1)
resource.setrlimit(resource.{limit}, (2**32, 2**32))
check_memory(2**20)
resource.setrlimit(resource.{limit}, (2**30, 2**30))
check_memory(2**30)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "take 1.00 GiB, this process may have" in done.stderr
    assert " GiB more" in done.stderr
