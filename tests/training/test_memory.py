"""How much memory a process may take, in containers and without, and that it keeps what it has."""

import ctypes
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from classifier.models.buffers import keep_large_buffers
from classifier.training.memory import free_memory

MB = 2**20


def group(place: Path, names: tuple[str, str], limit: object, used: int, cache: str) -> None:
    """The files of a control group."""
    place.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, used), strict=True):
        (place / name).write_text(f"{value}\n")
    (place / "memory.stat").write_text(f"anon 5\n{cache} {10 * MB}\nfile 7\n")


def membership(system: Path, line: str) -> None:
    """Say which group the process is in."""
    (system / "proc/self").mkdir(parents=True)
    (system / "proc/self/cgroup").write_text(
        f"11:cpu,cpuacct:/elsewhere\n{line}\n", encoding="utf-8"
    )


V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_a_container_of_version_2_limits_what_is_free(tmp_path: Path) -> None:
    membership(tmp_path, "0::/pod/jöb")
    groups = tmp_path / "sys/fs/cgroup"
    group(groups / "pod/jöb", V2, 100 * MB, 60 * MB, "inactive_file")
    assert free_memory(tmp_path) == 50 * MB  # 40, and 10 of caches that can be dropped
    group(groups / "pod", V2, 80 * MB, 60 * MB, "inactive_file")
    assert free_memory(tmp_path) == 30 * MB, "the tightest group above counts"
    group(groups / "pod", V2, 40 * MB, 60 * MB, "inactive_file")
    assert free_memory(tmp_path) == 0


def test_a_container_of_version_1_limits_what_is_free(tmp_path: Path) -> None:
    membership(tmp_path, "4:memory:/docker/abc")  # a path of the host: here, its group is the top
    group(tmp_path / "sys/fs/cgroup/memory", V1, 100 * MB, 60 * MB, "total_inactive_file")
    assert free_memory(tmp_path) == 50 * MB


@pytest.mark.parametrize("limit", ["max", 2**63 - 4096])
def test_without_a_limit_the_machine_counts(tmp_path: Path, limit: object) -> None:
    membership(tmp_path, "0::/")
    group(tmp_path / "sys/fs/cgroup", V2, limit, 60 * MB, "inactive_file")
    assert free_memory(tmp_path) > 200 * MB
    assert free_memory(tmp_path / "not-linux") == pytest.approx(
        psutil.virtual_memory().available, rel=0.2
    )


# Frees 40 blocks of 64 MB, one after the other, and prints how many of their pages the kernel had
# to supply. A first argument stands for the largest threshold that the C library accepts.
BLOCKS = """
import ctypes, resource, sys
from classifier.models.buffers import keep_large_buffers
libc = ctypes.CDLL("libc.so.6")
if len(sys.argv) > 1:
    class Old:
        def __init__(self, name): pass
        def mallopt(self, key, value):
            return 0 if key == -3 and value > int(sys.argv[1]) else libc.mallopt(key, value)
    ctypes.CDLL = Old
assert keep_large_buffers()
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def block():
    place = libc.malloc(64 << 20)
    ctypes.memset(place, 1, 64 << 20)
    libc.free(place)
block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    block()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
@pytest.mark.parametrize("largest", [[], [str(32 * MB)]], ids=["this glibc", "before 2.35"])
def test_large_blocks_stay_with_the_process(largest: list[str]) -> None:
    command = [sys.executable, "-c", BLOCKS, *largest]
    faults = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults < 1000, "40 fresh blocks are 655,360 pages"


def test_settings_that_are_refused_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    refuses = SimpleNamespace(mallopt=lambda key, value: 0)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: refuses)
    assert not keep_large_buffers()
