"""Score the model on every split with one pass of the network, and keep all that it says."""

from pathlib import Path

from classifier.core.files import replacing
from classifier.core.params import load
from classifier.core.process import run_dir, stage
from classifier.dataset.prepared import PreparedData
from classifier.evaluation.evaluate import evaluate, write_metrics, write_predictions
from classifier.evaluation.explanations import write_explanations
from classifier.metrics.scoring import EvaluateParams
from classifier.models import decision
from classifier.models.buffers import keep_large_buffers
from classifier.models.device import choose_device
from classifier.models.model_file import load as load_model
from classifier.models.portable import compute_as_trained
from classifier.models.spec import read_spec

MODEL = Path("models/model.safetensors")


def main() -> None:
    keep_large_buffers()
    params = load("evaluate", EvaluateParams)
    data = PreparedData.open("data/prepared")
    device = choose_device(params.device, "evaluate.device")
    compute_as_trained(read_spec(MODEL))  # so that the cores of this machine change no bit
    network, spec = load_model(MODEL, str(device))
    evaluation = evaluate(network, spec, data, params, device, MODEL, run_dir() / "features")
    with replacing("data/predictions") as folder:
        write_predictions(evaluation, data, folder)
    with replacing("data/explain") as folder:
        write_explanations(evaluation, network, spec, data, params, device, folder)
    decision.write(MODEL, evaluation.decision)
    measured = write_metrics(evaluation, params, Path("metrics"))
    test = evaluation.scores["test"]
    print(
        f"Test accuracy {test.text('accuracy')}, loss {test.values['loss']:.4f}, "
        f"{len(evaluation.outcomes['test'].labels)} images."
    )
    for line in measured.lines():
        print(line)


if __name__ == "__main__":
    stage("evaluate", main)
