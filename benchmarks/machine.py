"""Name the machine that a measurement was made on, and limit the memory of one."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def machine() -> str:
    """Name the kind of machine: the processor and the number of cores this process may use."""
    return f"{_processor()}, {_cores()} core{'' if _cores() == 1 else 's'}"


@contextmanager
def control_group(limit: int) -> Iterator[Path]:
    """A control group of Linux, version 1 or 2, that holds ``limit`` bytes; root may make one.

    A process that writes its number to the group's cgroup.procs is in it. Caches of files count.
    """
    old = Path("/sys/fs/cgroup/memory")
    place, file = (old, "memory.limit_in_bytes") if old.is_dir() else (old.parent, "memory.max")
    group = place / f"benchmark-{os.getpid()}"
    group.mkdir(exist_ok=True)
    (group / file).write_text(str(limit), encoding="ascii")
    try:
        yield group
    finally:
        group.rmdir()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The processor's name, and what else decides about the last bit of its arithmetic.

    A virtual machine often calls every generation the same ("AMD EPYC"): family and model tell them
    apart. The widest vectors decide which kernels torch and its libraries choose.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    facts: dict[str, str] = {}
    for line in text.split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    if "model name" not in facts:
        return platform.machine()
    family, model = facts.get("cpu family"), facts.get("model")
    generation = f" (family {family}, model {model})" if family and model else ""
    flags = set(facts.get("flags", "").split())
    vectors = next((f", {name}" for name in ("amx_tile", "avx512f", "avx2") if name in flags), "")
    return f"{facts['model name']}{generation}{vectors}"
