"""Wall times for the report, which must have the same bytes when the same run is repeated.

No two runs take the same time. What is shown is therefore the time of the first run with these
inputs on this kind of machine: it stands in a small file that Git keeps, beside a hash of the
stage's entry in dvc.lock, and is replaced when that entry or the machine differs.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

STAGES = ("download", "split", "preprocess", "train", "evaluate")


def machine() -> str:
    """Name the kind of machine: the processor and the number of cores this process may use."""
    return f"{_processor()}, {_cores()} core{'' if _cores() == 1 else 's'}"


def settled(
    lock: Mapping[str, Any] | None,
    fresh: Mapping[str, float],
    recorded: Mapping[str, Mapping[str, Any]],
    here: str,
) -> dict[str, dict[str, Any]]:
    """Return for each stage {"inputs", "machine", "seconds"}, an old entry where it still holds.

    Args:
        lock: the stages of dvc.lock, or None without one: then every fresh time counts.
        fresh: seconds that each stage took when it last ran here.
        recorded: what the last call returned.
        here: this machine.
    """
    entries: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        inputs = _hash((lock or {}).get(stage))
        old = recorded.get(stage)
        if old and lock is not None and old.get("inputs") == inputs:
            same = old.get("machine") == here
            # Results that came from another machine's cache took no time here.
            if same or stage not in fresh:
                entries[stage] = dict(old)
                continue
        if stage in fresh:
            seconds = float(f"{fresh[stage]:.3g}")
            entries[stage] = {"inputs": inputs, "machine": here, "seconds": seconds}
    return entries


def read_lock(path: Path) -> dict[str, Any] | None:
    """Return the stages of dvc.lock by name, None when there is no such file."""
    if not path.exists():
        return None
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("stages", {})


def _hash(entry: Any) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:16]


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
