"""The command line: `python -m classifier VERB`. Verbs live in classifier/commands/."""

import argparse
import importlib
import sys

from classifier.core.errors import UserError, of_the_machine, suggestion
from classifier.core.process import stoppable

# verb -> (what it does, an example that `--help` ends with)
VERBS = {
    "recipe": (
        "run a named parameter overlay as an experiment",
        "python -m classifier recipe ladder-4-augment -S train.epochs=5",
    ),
    "compare": (
        "say whether one run is better than another, or only luckier",
        "python -m classifier compare main my-experiment --md",
    ),
    "runs": (
        "list the experiments: what each changed, its accuracy, its verdict",
        "python -m classifier runs --sort test_loss",
    ),
    "ensemble": (
        "combine the saved predictions of several revisions or experiments",
        "python -m classifier ensemble seed-1 seed-2 seed-3 --method weighted",
    ),
    "tune": (
        "search for better parameters, each trial an experiment",
        "python -m classifier tune --trials 20 -S 'train.lr=log(1e-4,1e-1)'",
    ),
    "folds": (
        "cross-validate: folds run as experiments, their predictions pooled",
        "python -m classifier folds -k 5 -S train.epochs=10",
    ),
    "find-lr": (
        "suggest a learning rate for the current data and parameters",
        "python -m classifier find-lr --image learning_rate.png",
    ),
    "keep": (
        "put a trained model aside, as a start for further training",
        "python -m classifier keep first --rev my-experiment",
    ),
    "models": (
        "list the networks with their parameters and multiply-adds",
        "python -m classifier models --timm 'convnext*' --image-size 224",
    ),
    "weights": (
        "bring pretrained weights of timm or torchvision, or list them",
        "python -m classifier weights timm/resnet18",
    ),
    "predict": (
        "say what is in images: files, folders, patterns or tables of them",
        "python -m classifier predict photos/ --out predictions.csv",
    ),
    "embed": (
        "write what the network sees in images, a vector for each",
        "python -m classifier embed photos/ --out embeddings.parquet",
    ),
    "unknown": (
        "measure how well images of no class are told from the others",
        "python -m classifier unknown other-things/",
    ),
    "export": (
        "write the model in a format that other programs read",
        "python -m classifier export --format onnx --int8",
    ),
    "serve": (
        "answer over HTTP, with a page to try the model on",
        "python -m classifier serve --port 8000",
    ),
    "review": (
        "look at doubtful images on a local page, and correct their labels",
        "python -m classifier review --port 8001",
    ),
    "repair": (
        "mend what a killed run or a full disk left half-written",
        "python -m classifier repair && dvc repro",
    ),
    "verify": (
        "run the pipeline twice in temporary clones and compare every byte",
        "python -m classifier verify",
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0, 1 after a user's mistake, 130 on Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0 if argv else 1
    verb = argv[0]
    if verb not in VERBS:
        print(f"error: {verb!r} is not a verb{suggestion(verb, VERBS)}.", file=sys.stderr)
        return 1
    summary, example = VERBS[verb]
    try:
        # dash -> underscore: module names cannot hold the dash of find-lr
        command = importlib.import_module(f"classifier.commands.{verb.replace('-', '_')}")
        parser = argparse.ArgumentParser(
            prog=f"python -m classifier {verb}",
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(parser)
        with stoppable():
            return int(command.run(parser.parse_args(argv[1:])))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output, say `head`, has seen enough
        sys.stderr.close()
        return 0
    except Exception as error:
        sentence = str(error) if isinstance(error, UserError) else of_the_machine(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 1


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = ["usage: python -m classifier VERB [options]", "", "verbs:"]
    lines += [f"  {verb:{width}}  {summary}" for verb, (summary, _) in VERBS.items()]
    return "\n".join([*lines, "", "python -m classifier VERB --help shows a verb's options."])
