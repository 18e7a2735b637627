"""Divide the images into train, validation and test, and report on their quality."""

from collections import Counter
from pathlib import Path

from classifier.core.csv_files import read_table
from classifier.core.files import write_json
from classifier.core.params import load
from classifier.core.process import stage
from classifier.core.wording import printable
from classifier.images.manifest import Manifest
from classifier.images.split_table import write_splits
from classifier.images.store import REJECTED
from classifier.splits import quality
from classifier.splits.assign import SplitParams, assign
from classifier.splits.corrections import apply, counts, read_corrections
from classifier.splits.duplicates import near_duplicates

RAW = Path("data/raw")
CORRECTIONS = Path("data/corrections.csv")


def main() -> None:
    params = load("split", SplitParams)
    manifest = Manifest.read(RAW)
    near = near_duplicates(manifest, RAW, params.near_duplicate_distance)
    together = near.pairs if params.near_duplicates == "together" else None
    decided = read_corrections(CORRECTIONS)
    now = apply(decided, manifest, assign(manifest, params, together), together, CORRECTIONS)
    rejected = len(read_table(RAW / REJECTED, "download", {}))
    found = quality.report(now.manifest, now.splits, near, rejected, now.left_out)
    never = ["exact_duplicates_across_splits", "groups_across_splits"]
    if params.near_duplicates == "together":
        never.append("near_duplicates_across_splits")
    leaks = [name for name in never if found.metrics[name]]
    if leaks:  # counted on the division itself, so that no defect of ours can pass
        raise RuntimeError(f"{leaks[0]} is {found.metrics[leaks[0]]}: nothing was divided")
    if decided:
        found.metrics["corrections"] = counts(decided)
        actions = ", ".join(f"{count:,} {name}" for name, count in counts(decided).items())
        print(f"{CORRECTIONS}: {actions}")
    if now.copies:
        found.warnings.append(
            f"{now.copies:,} newly labelled images left out, for they belong together with images "
            "of val or test"
        )
    write_splits("data/splits/split.csv", manifest, now.splits, now.manifest.label)
    write_json("metrics/quality.json", found.metrics)
    for warning in found.warnings:
        print(printable(f"warning: {warning}"))
    sizes = Counter(now.splits.tolist())
    print(", ".join(f"{count:,} {name}" for name, count in sorted(sizes.items())))


if __name__ == "__main__":
    stage("split", main)
