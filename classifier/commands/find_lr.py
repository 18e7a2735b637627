"""`find-lr`: suggest a learning rate, with the curve that it comes from."""

import argparse
from pathlib import Path

from classifier.core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `find-lr`."""
    parser.add_argument("--lowest", type=float, default=1e-6, help="first rate (default 1e-6)")
    parser.add_argument("--highest", type=float, default=10.0, help="last rate (default 10)")
    parser.add_argument("--steps", type=int, default=200, help="batches to train on (default 200)")
    parser.add_argument(
        "--image",
        type=Path,
        default=Path(".run/learning_rate.png"),
        help="where the curve is drawn (default .run/learning_rate.png)",
    )


def run(args: argparse.Namespace) -> int:
    """Try the learning rates on data/prepared with the settings of params.yaml."""
    if not 0 < args.lowest < args.highest:
        raise UserError("--lowest and --highest must be above 0, in this order.")
    if args.steps < 20:
        raise UserError(f"--steps is {args.steps}: at least 20 are needed for a curve.")
    from classifier.augment.augmenter import AugmentParams
    from classifier.core.params import load
    from classifier.dataset.prepared import PreparedData
    from classifier.experiments import learning_rate_finder
    from classifier.models.registry import ModelParams
    from classifier.training.params import TrainParams

    found = learning_rate_finder.find_learning_rate(
        load("train", TrainParams),
        load("model", ModelParams),
        load("augment", AugmentParams),
        PreparedData.open("data/prepared"),
        lowest=args.lowest,
        highest=args.highest,
        steps=args.steps,
    )
    learning_rate_finder.draw(found, args.image)
    print(f"suggested: train.lr={found.suggestion:g} (the curve is in {args.image})")
    return 0
