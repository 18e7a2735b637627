"""What changed since the last commit: metrics and parameters of the workspace beside HEAD's."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Change:
    """One value that differs: None where one side lacks it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Changes:
    """Differences from the last commit, or in ``missing`` why there is nothing to compare with."""

    metrics: tuple[Change, ...] = ()
    params: tuple[Change, ...] = ()
    missing: str = ""


def since_last_commit(root: Path) -> Changes:
    """Compare metrics/evaluate.json, metrics/train.json and params.yaml with Git's HEAD."""
    if _git(root, "rev-parse", "--git-dir") is None:
        return Changes(missing="This folder is not a Git repository.")
    if _git(root, "rev-parse", "HEAD") is None:
        return Changes(missing="There is no commit yet.")
    metrics: list[Change] = []
    compared = False
    for name in ("metrics/evaluate.json", "metrics/train.json"):
        before = _git(root, "show", f"HEAD:./{name}")
        if before is not None and (root / name).exists():
            compared = True
            after = (root / name).read_text(encoding="utf-8")
            metrics += differences(json.loads(before), json.loads(after))
    before = _git(root, "show", "HEAD:./params.yaml")
    after = (root / "params.yaml").read_text(encoding="utf-8")
    params = (
        differences(yaml.safe_load(before) or {}, yaml.safe_load(after) or {}) if before else []
    )
    missing = "" if compared else "The last commit holds no metrics to compare with."
    return Changes(tuple(metrics), tuple(params), missing)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the values that differ, by dotted key, in the order of ``after``."""
    old, new = flat(before), flat(after)
    keys = [*new, *(key for key in old if key not in new)]
    return [Change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"train": {"lr": 0.1}} as {"train.lr": 0.1}."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _git(root: Path, *arguments: str) -> str | None:
    """Return Git's output, None when it failed or there is no Git."""
    try:
        finished = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if finished.returncode else finished.stdout.decode("utf-8", errors="replace")
