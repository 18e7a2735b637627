"""What the evaluation writes, and that its tables agree with one another and with scikit-learn."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn import metrics

from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.dataset.prepared import PreparedData
from classifier.evaluation import tables
from classifier.evaluation.evaluate import Evaluation, evaluate, write_metrics, write_predictions
from classifier.evaluation.explanations import write_explanations
from classifier.inference.torch_backend import TorchPredictor
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams
from classifier.models.classifier import Classifier, TestTimeAugmentation
from classifier.models.model_file import save
from classifier.models.registry import build
from classifier.models.spec import ModelSpec
from classifier.models.temperature import fit_temperature

CLASSES = ["cat", 'a "dog", big', "macro"]
CPU = torch.device("cpu")


def prepared(folder: Path, **counts: int) -> PreparedData:
    """Images whose brightness gives the class away, now and then wrongly."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "row", "label", "width", "height"])
        for split, count in counts.items():
            labels = generator.integers(0, 3, count)
            noise = generator.integers(-45, 45, (count, 8, 8, 1))
            images = (60 + 60 * labels[:, None, None, None] + noise).astype(np.uint8)
            np.save(folder / f"{split}.npy", images)
            given = ["" if split == "unlabelled" else CLASSES[label] for label in labels]
            if split != "unlabelled":
                np.save(folder / f"{split}_labels.npy", labels)
            writer.writerows([f"{split}-{n}", split, n, given[n], 8, 8] for n in range(count))
    meta = {"classes": CLASSES, "channels": 1, "image_size": 8, "counts": counts, "resize": "pad"}
    (folder / "meta.json").write_text(json.dumps(meta))
    return PreparedData.open(folder)


def model(name: str = "cnn", image_size: int = 8) -> tuple[Classifier, ModelSpec]:
    torch.manual_seed(0)
    network = build(name, {}, classes=3, channels=1, image_size=image_size).eval()
    torch.nn.init.normal_(network.last_linear.weight, std=0.1)
    spec = ModelSpec(name, {}, tuple(CLASSES), 1, image_size, Resize("pad"), (0.5,), (0.25,), 1.7)
    return network, spec


def params(**changes: object) -> EvaluateParams:
    return EvaluateParams(
        **{"batch_size": 16, "top_k": 2, "seed": 0, "bootstrap_samples": 50} | changes
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("prepared") / "prepared"
    return prepared(folder, train=90, val=30, test=70, unlabelled=5)


@pytest.fixture(scope="module")
def evaluation(data: PreparedData) -> Evaluation:
    found = params(train_images=40, embedding_images=20)
    return evaluate(*model(), data, found, CPU)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_hold_all_that_the_figures_need(
    evaluation: Evaluation, data: PreparedData, tmp_path: Path
) -> None:
    write_predictions(evaluation, data, tmp_path)
    logits = np.load(tmp_path / "test_logits.npy")
    assert (logits.dtype, logits.shape) == (np.float32, (70, 3))
    assert np.load(tmp_path / "val_logits.npy").shape == (30, 3)
    assert np.load(tmp_path / "unlabelled_logits.npy").shape == (5, 3)
    rows = read(tmp_path / "predictions.csv")
    assert list(rows[0]) == [
        "id", "actual", "predicted", "probability", *(f"p_{name}" for name in CLASSES)
    ]  # fmt: skip
    assert [row["id"] for row in rows] == data.ids("test")
    assert [row["actual"] for row in rows] == [CLASSES[k] for k in data.labels("test")]
    assert [row["predicted"] for row in rows] == [CLASSES[k] for k in logits.argmax(axis=1)]
    shares = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])
    assert [float(row["probability"]) for row in rows] == shares.max(axis=1).tolist()
    assert shares == pytest.approx(softmax(logits / 1.7, axis=1), rel=1e-5)
    loss = metrics.log_loss(data.labels("test"), softmax(np.float64(logits), axis=1))
    assert evaluation.scores["test"].values["loss"] == pytest.approx(loss, rel=1e-6)
    rows = read(tmp_path / "unlabelled.csv")
    assert list(rows[0])[:3] == ["id", "predicted", "probability"]
    assert [row["id"] for row in rows] == data.ids("unlabelled")
    logits = np.load(tmp_path / "unlabelled_logits.npy")
    found = np.array([float(row["probability"]) for row in rows])
    assert found == pytest.approx(softmax(logits / 1.7, axis=1).max(axis=1), rel=1e-5)


def test_a_probability_is_the_same_wherever_it_is_shown(
    evaluation: Evaluation, data: PreparedData, tmp_path: Path
) -> None:
    network, spec = model()
    write_predictions(evaluation, data, tmp_path)
    write_explanations(evaluation, network, spec, data, params(examples=10), CPU, tmp_path)
    save(tmp_path / "model.safetensors", network, spec)
    said = TorchPredictor(tmp_path / "model.safetensors", "cpu").probabilities(data.images("test"))
    rows = read(tmp_path / "predictions.csv")
    table = {row["id"]: row["probability"] for row in rows}
    assert [float(text) for text in table.values()] == pytest.approx(said.max(axis=1), rel=1e-4)
    for name in ("mistakes", "uncertain", "gradcam"):
        for row in read(tmp_path / f"{name}.csv"):
            assert row["probability"] == table[row["id"]], name


def test_the_views_of_a_model_are_switched_off(data: PreparedData) -> None:
    def found(answer: TestTimeAugmentation, **changes: object) -> Evaluation:
        network, spec = model()
        network.test_time_augmentation = answer
        return evaluate(network, spec, data, params(**changes), CPU)

    one, six, off = (
        found("none"),
        found("mirror_shift"),
        found("mirror_shift", test_time_augmentation=False),
    )
    assert not np.allclose(six.outcomes["test"].logits, one.outcomes["test"].logits)
    assert (off.outcomes["test"].logits == one.outcomes["test"].logits).all()
    assert six.outcomes["test"].temperature == 1.7
    # The temperature in the model file belongs to the answers by several views.
    val = one.outcomes["val"]
    assert off.outcomes["test"].temperature == fit_temperature(val.logits, val.labels) != 1.7


def test_without_a_validation_split_there_is_no_temperature_of_one_view(tmp_path: Path) -> None:
    data = prepared(tmp_path / "prepared", train=3, test=20)
    network, spec = model()
    network.test_time_augmentation = "mirror"
    found = evaluate(network, spec, data, params(test_time_augmentation=False), CPU)
    assert "ece_calibrated" not in found.scores["test"].values


def test_metrics_files(evaluation: Evaluation, data: PreparedData, tmp_path: Path) -> None:
    write_metrics(evaluation, params(), tmp_path)
    flat = json.loads((tmp_path / "evaluate.json").read_text())
    predicted = evaluation.outcomes["test"].predicted
    accuracy = metrics.accuracy_score(data.labels("test"), predicted)
    assert flat["test_accuracy"] == pytest.approx(accuracy, rel=1e-5)
    details = json.loads((tmp_path / "details.json").read_text())
    assert details["images"] == {"train": 40, "val": 30, "test": 70}
    assert details["temperature"] == 1.7
    assert "top2_accuracy" in details["test"]
    for part in ("train", "val", "test"):
        figure = details[part]["f1_macro"]
        assert figure["low"] <= figure["value"] <= figure["high"]
    rows = read(tmp_path / "per_class.csv")
    report = metrics.classification_report(
        data.labels("test"), predicted, output_dict=True, target_names=CLASSES, zero_division=np.nan
    )
    for row in rows:
        expected = report[row["class"]]
        assert int(row["support"]) == expected["support"]
        for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            wanted = expected[theirs]
            assert row[ours] == "" if np.isnan(wanted) else float(row[ours]) == pytest.approx(wanted, rel=1e-5)  # fmt: skip  # noqa: E501
    rows = read(tmp_path / "plots" / "confusion.csv")
    assert [row["actual"] for row in rows] == [CLASSES[k] for k in data.labels("test")]
    assert [row["predicted"] for row in rows] == [CLASSES[k] for k in predicted]
    for name in ("roc", "pr"):
        rows = read(tmp_path / "plots" / f"{name}.csv")
        assert len(rows) <= 200
        assert {"micro", "macro", "class macro"} < set(rows[0])
    rows = read(tmp_path / "plots" / "reliability.csv")
    assert sum(int(row["count"]) for row in rows) == 70
    assert sum(int(row["count_calibrated"]) for row in rows) == 70
    gaps = [
        int(row["count"]) * abs(float(row["accuracy"]) - float(row["confidence"])) / 70
        for row in rows
        if row["accuracy"] != "nan"
    ]
    assert sum(gaps) == pytest.approx(details["test"]["ece"]["value"], rel=1e-4)


def test_explanation_files(evaluation: Evaluation, data: PreparedData, tmp_path: Path) -> None:
    network, spec = model()
    write_explanations(evaluation, network, spec, data, params(examples=10), CPU, tmp_path)
    test = evaluation.outcomes["test"]
    mistakes = read(tmp_path / "mistakes.csv")
    assert 0 < len(mistakes) <= 10
    shares = [float(row["probability"]) for row in mistakes]
    assert shares == sorted(shares, reverse=True)
    for row in mistakes:
        assert row["id"] == data.ids("test")[int(row["row"])]
        assert row["actual"] != row["predicted"]
    margins = [float(row["margin"]) for row in read(tmp_path / "uncertain.csv")]
    assert margins == sorted(margins)
    assert len(margins) == 10
    pairs = read(tmp_path / "confused_pairs.csv")
    assert sum(int(row["count"]) for row in pairs) == (~test.right).sum()
    for row in pairs:
        for example in row["rows"].split():
            assert CLASSES[test.labels[int(example)]] == row["actual"]
            assert CLASSES[test.predicted[int(example)]] == row["predicted"]
    for row in read(tmp_path / "label_errors.csv"):
        assert row["id"] == data.ids(row["split"])[int(row["row"])]
        assert row["given"] != row["suggested"]
        assert 0 <= float(row["error_probability"]) <= 1
    points = read(tmp_path / "embedding.csv")
    assert len(points) == 20
    assert all(row["id"] == data.ids("test")[int(row["row"])] for row in points)
    heat, images = (np.load(tmp_path / f"gradcam_{name}.npy") for name in ("heat", "images"))
    index = read(tmp_path / "gradcam.csv")
    assert len(heat) == len(images) == len(index)
    assert images.shape[1:] == (8, 8, 1)
    for row, image in zip(index, images, strict=True):
        assert (image == data.images("test")[int(row["row"])]).all()
        assert row["right"] == str(int(row["actual"] == row["predicted"]))
    assert next(iter(np.load(tmp_path / "feature_maps.npz"))) == "image"
    assert np.load(tmp_path / "filters.npy").ndim == 4
    assert json.loads((tmp_path / "explain.json").read_text())["gradcam_stage"]


def test_everything_is_the_same_bytes_again(
    evaluation: Evaluation, data: PreparedData, tmp_path: Path
) -> None:
    found = params(train_images=40, embedding_images=20)
    network, spec = model()
    contents = []
    for name, one in (("a", evaluation), ("b", evaluate(network, spec, data, found, CPU))):
        write_predictions(one, data, tmp_path / name)
        write_explanations(one, network, spec, data, found, CPU, tmp_path / name)
        write_metrics(one, found, tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_a_network_without_convolutions(data: PreparedData, tmp_path: Path) -> None:
    network, spec = model("mlp")
    found = evaluate(network, spec, data, params(), CPU)
    write_explanations(found, network, spec, data, params(), CPU, tmp_path)
    assert not (tmp_path / "gradcam_heat.npy").exists()
    assert not (tmp_path / "filters.npy").exists()
    assert (tmp_path / "embedding.csv").exists()


def test_tiny_sets(tmp_path: Path) -> None:
    """One test image, no validation, no sample of train, no embedding."""
    data = prepared(tmp_path / "prepared", train=3, test=1)
    network, spec = model()
    found = params(train_images=0, embedding_images=0)
    evaluation = evaluate(network, spec, data, found, CPU)
    assert set(evaluation.scores) == {"test"}
    write_predictions(evaluation, data, tmp_path / "out")
    write_metrics(evaluation, found, tmp_path / "out")
    write_explanations(evaluation, network, spec, data, found, CPU, tmp_path / "out")
    assert len(read(tmp_path / "out" / "per_class.csv")) == 3


def test_no_test_images(tmp_path: Path) -> None:
    data = prepared(tmp_path / "prepared", train=3, unlabelled=2)
    with pytest.raises(UserError, match=r"no test images.*split\.test_fraction"):
        evaluate(*model(), data, params(), CPU)


def test_a_model_of_other_images(data: PreparedData) -> None:
    with pytest.raises(UserError, match=r"image_size differs.*dvc repro train"):
        evaluate(*model(image_size=16), data, params(), CPU)


def test_many_classes_have_average_curves_alone() -> None:
    generator = np.random.default_rng(0)
    outcomes = Outcomes(
        generator.normal(size=(300, 30)).astype(np.float32), generator.integers(0, 30, 300)
    )
    found = tables.roc(outcomes, [str(k) for k in range(30)])
    assert list(found.columns) == ["fpr", "micro", "macro"]


def test_the_embeddings_are_kept_as_directions_of_every_split(
    evaluation: Evaluation, data: PreparedData, tmp_path: Path
) -> None:
    write_predictions(evaluation, data, tmp_path)
    with np.load(tmp_path / "embeddings.npz") as found:
        lengths = {name: len(found[name]) for name in ("train", "val", "test", "unlabelled")}
        assert lengths == {"train": 40, "val": 30, "test": 70, "unlabelled": 5}
        raw = evaluation.embeddings
        directions = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        np.testing.assert_allclose(found["test"][evaluation.embedding_rows], directions, atol=1e-3)


def test_copies_of_training_images_are_found_beside_other_neighbors(tmp_path: Path) -> None:
    data = prepared(tmp_path / "prepared", train=90, val=30, test=70)
    copied = np.load(data.folder / "test.npy")
    copied[7] = data.images("train")[3]
    np.save(data.folder / "test.npy", copied)
    network, spec = model()
    evaluation = evaluate(network, spec, data, params(), CPU)
    write_explanations(evaluation, network, spec, data, params(), CPU, tmp_path / "out")
    leaks = read(tmp_path / "out" / "leaks.csv")
    assert (leaks[0]["id"], leaks[0]["train_id"]) == ("test-7", "train-3")
    assert float(leaks[0]["ratio"]) == pytest.approx(0, abs=1e-3)
    assert all(float(row["ratio"]) < 0.3 for row in leaks)
    mistakes = {("test", row["row"]) for row in read(tmp_path / "out" / "mistakes.csv")}
    beside = read(tmp_path / "out" / "neighbors.csv")
    assert mistakes
    assert mistakes <= {(row["split"], row["row"]) for row in beside}
    assert [row["place"] for row in beside[:3]] == ["1", "2", "3"]


def test_without_training_images_there_are_no_neighbors(data: PreparedData, tmp_path: Path) -> None:
    network, spec = model()
    found = params(train_images=0)
    evaluation = evaluate(network, spec, data, found, CPU)
    write_explanations(evaluation, network, spec, data, found, CPU, tmp_path)
    assert read(tmp_path / "neighbors.csv") == [] == read(tmp_path / "leaks.csv")
