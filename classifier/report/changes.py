"""What changed since the last commit: metrics and parameters of the workspace beside HEAD's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier.core.git import git_or_none
from classifier.core.params import flatten, read, read_text


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
    if git_or_none(root, "rev-parse", "--git-dir") is None:
        return Changes(missing="This folder is not a Git repository.")
    if git_or_none(root, "rev-parse", "HEAD") is None:
        return Changes(missing="There is no commit yet.")
    metrics: list[Change] = []
    compared = False
    for name in ("metrics/evaluate.json", "metrics/train.json"):
        before = git_or_none(root, "show", f"HEAD:./{name}")
        if before is not None and (root / name).exists():
            compared = True
            after = (root / name).read_text(encoding="utf-8")
            metrics += differences(json.loads(before), json.loads(after))
    params: list[Change] = []
    if (text := git_or_none(root, "show", "HEAD:./params.yaml")) is not None:
        committed = read_text(text, "params.yaml of HEAD")
        params = differences(committed, read(root / "params.yaml"))
    missing = "" if compared else "The last commit holds no metrics to compare with."
    return Changes(tuple(metrics), tuple(params), missing)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the values that differ, by dotted key, in the order of ``after``."""
    old, new = flatten(before), flatten(after)
    keys = [*new, *(key for key in old if key not in new)]
    return [Change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]
