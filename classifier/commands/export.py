"""`export`: the model for other programs, checked against the one that it came from."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from classifier.commands import model_option
from classifier.core.errors import UserError
from classifier.core.files import replacing, sha256
from classifier.core.value_range import ranges_in
from classifier.dataset.prepared import PreparedData
from classifier.dataset.stored_images import Images
from classifier.models import model_file
from classifier.models.spec import ModelSpec

DATA, RAW = Path("data/prepared"), Path("data/raw")
ENDINGS = {
    "onnx": ".onnx",
    "torch-export": ".pt2",
    "safetensors": ".weights.safetensors",
    "model": ".deployed.safetensors",
}
TOLERANCE = 1e-4  # of a probability, where no resizing happens
ORIGINALS = 500  # images of other sizes that the resizing is tried on
NOISE = 256  # made-up images, where there are no prepared ones

Answer = Callable[[Any], Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `export`."""
    model_option.add_arguments(parser)
    parser.add_argument(
        "--format",
        choices=tuple(ENDINGS),
        default="onnx",
        metavar="FORMAT",
        help=f"{', '.join(ENDINGS)} (default: onnx; model: this project's own, with the thresholds"
        " that evaluate chose)",
    )
    parser.add_argument(
        "--int8", action="store_true", help="ONNX in 8-bit integers, fitted to training images"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="(default: models/model with the format's ending)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the file, then say its size, its speed, and how well it agrees."""
    if args.int8 and args.format != "onnx":
        raise UserError("--int8 is for --format onnx: leave one of them out.")
    chosen = model_option.choose(args)
    ending = ".int8.onnx" if args.int8 else ENDINGS[args.format]
    path = args.out or Path("models") / f"model{ending}"
    if path.resolve() == chosen.path.resolve():
        raise UserError(f"--out {path} is the model itself: name another file.")

    from classifier.inference import export
    from classifier.inference.torch_backend import TorchPredictor

    _say(f"reading {chosen.path}")
    source = TorchPredictor(chosen.path, "cpu")
    if chosen.decision:
        source.spec = replace(source.spec, decision=chosen.decision)
    data = _prepared(source.spec)
    if args.int8 and (data is None or "train" not in data.splits):
        raise UserError(
            f"--int8 needs the images that the model was trained on, and {DATA} does not "
            "have them: run dvc repro, or dvc pull."
        )
    _say(f"writing {path}")
    if args.format in ("model", "safetensors"):
        write = model_file.save if args.format == "model" else export.save_safetensors
        write(path, source.network, source.spec)
        _say_size(path)
        return 0
    if args.format == "torch-export":
        export.save_torch_export(path, source.network, source.spec)
        answer: Answer = export.load_torch_export(path)
    else:
        answer = _onnx(path, source, chosen, data if args.int8 else None)
    _say_size(path)
    _compare(source.probabilities, answer, source.spec, data, exact=not args.int8)
    return 0


def _onnx(
    path: Path, source: Any, chosen: model_option.ChosenModel, fitted_to: PreparedData | None
) -> Answer:
    """Write an ONNX file, in 8-bit integers where there is data to fit these to."""
    from classifier.inference import export
    from classifier.inference.onnx_backend import OnnxPredictor

    metrics = chosen.metrics
    content = export.onnx_bytes(source.network, source.spec, metrics, sha256(chosen.path))
    if fitted_to:
        train = fitted_to.images("train")
        rows = np.linspace(0, len(train) - 1, min(len(train), export.CALIBRATION)).astype(int)
        # The metrics are those of the float32 model: an int8 file must not pass for it.
        content = export.quantized(content, train[rows], source.spec, {"float32": metrics})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return OnnxPredictor(path).probabilities


def _prepared(spec: ModelSpec) -> PreparedData | None:
    """The prepared images, if they are what the model was trained on."""
    try:
        data = PreparedData.open(DATA)
    except UserError:
        return None
    meta = data.meta
    facts = (tuple(data.classes), meta["image_size"], meta["channels"], ranges_in(meta))
    wanted = (spec.classes, spec.image_size, spec.channels, spec.value_range)
    return data if facts == wanted else None


def _say(doing: str) -> None:
    """What takes seconds now, apart from the results."""
    print(f"{doing} …", file=sys.stderr, flush=True)


def _say_size(path: Path) -> None:
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def _compare(
    expected: Answer, found: Answer, spec: ModelSpec, data: PreparedData | None, exact: bool
) -> None:
    """Print agreement, accuracy and latency of ``found`` beside torch's own.

    Raises:
        UserError: probabilities differ that should not.
    """
    from classifier.inference import export_check

    split = next((name for name in ("test", "val", "train") if data and name in data.splits), None)
    if data and split:
        images: Images = data.images(split)
        words = f"{split} images"
    else:
        shape = (NOISE, spec.image_size, spec.image_size, spec.channels)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        words = "made-up images"
    _say(f"answering {len(images):,} {words} with torch and from the file")
    ours, theirs = (export_check.in_batches(answer, images) for answer in (expected, found))
    result = export_check.agreement(ours, theirs)
    print(
        f"against torch on {result.images:,} {words}: same class for {result.same_class:.4%}, "
        f"probabilities differ by at most {result.largest_difference:.1e}"
    )
    if exact and result.largest_difference > TOLERANCE:
        raise UserError(
            f"the probabilities differ by more than {TOLERANCE:g}: do not use the file; another "
            "version of torch or of ONNX Runtime may be right."
        )
    if data and split:
        labels = data.labels(split)
        right, was = ((answer.argmax(axis=1) == labels).mean() for answer in (theirs, ours))
        print(f"{split} accuracy {right:.4f} (torch in float32: {was:.4f}, {right - was:+.4f})")
        if (RAW / "manifest.csv").exists():
            _compare_originals(expected, found, spec, data, split)
    _say("measuring the time of an answer")
    for number in (1, 64):
        batch = np.array(images[:number])
        taken, torch_took = (export_check.latency(answer, batch) for answer in (found, expected))
        print(f"batch of {len(batch)}: {taken:.2f} ms (torch: {torch_took:.2f} ms)")


def _compare_originals(
    expected: Answer, found: Answer, spec: ModelSpec, data: PreparedData, split: str
) -> None:
    from classifier.inference.export_check import originals

    _say("comparing images of other sizes, resized here and in the graph")
    same = []
    for ready, whole in originals(RAW, data, split, spec, ORIGINALS):
        same.append(expected(ready[None]).argmax() == found(whole[None]).argmax())
    if same:
        print(
            f"images of other sizes, resized in the graph: same class for {np.mean(same):.2%} "
            f"of {len(same):,}"
        )
