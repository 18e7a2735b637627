"""How much memory a process believes it may take, in containers of both versions and without."""

from pathlib import Path

import psutil
import pytest

from classifier.memory import free_memory

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
