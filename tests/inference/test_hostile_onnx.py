"""ONNX files that mean harm: one sentence, whatever their graph and their metadata say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.inference.onnx_metadata import INPUT, OUTPUT, metadata
from classifier.models.spec import ModelSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SPEC = ModelSpec("cnn", {}, ("a", "b", "c"), 1, 8, Resize(), (0.5,), (0.25,))
UINT8, FLOAT, INT64 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model(weights: "onnx.TensorProto", *, output: str = OUTPUT, kind: int = UINT8) -> bytes:
    """Images -> mean over everything plus ``weights``, [N, classes]."""
    shape = ["n", "height", "width", 1]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Cast", [INPUT], ["floats"], to=FLOAT),
            onnx.helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
            onnx.helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
            onnx.helper.make_node("Add", ["column", "weights"], [output]),
        ],
        "graph",
        [onnx.helper.make_tensor_value_info(INPUT, kind, shape)],
        [onnx.helper.make_tensor_value_info(output, FLOAT, None)],
        [
            weights,
            onnx.helper.make_tensor("axes", INT64, [3], [1, 2, 3]),
            onnx.helper.make_tensor("last", INT64, [1], [1]),
        ],
    )
    made = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9
    )
    onnx.helper.set_model_props(made, metadata(SPEC, {}))
    content: bytes = made.SerializeToString()
    return content


def weights(*values: float) -> "onnx.TensorProto":
    return onnx.helper.make_tensor("weights", FLOAT, [1, len(values)], values)


def external(place: str) -> "onnx.TensorProto":
    """Weights that are the bytes of another file."""
    tensor = onnx.TensorProto(name="weights", data_type=FLOAT, dims=[1, 3], data_location=1)
    for key, value in (("location", place), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def changed(**texts: str) -> bytes:
    made = onnx.load_from_string(model(weights(0, 0, 0)))
    facts = {entry.key: entry.value for entry in made.metadata_props} | texts
    del made.metadata_props[:]
    onnx.helper.set_model_props(made, facts)
    content: bytes = made.SerializeToString()
    return content


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "more outputs than classes": lambda _: model(weights(0, 0, 0, 0)),
    "no numbers": lambda _: model(weights(float("nan"), 0, 0)),
    "another output": lambda _: model(weights(0, 0, 0), output="other"),
    "another input": lambda _: model(weights(0, 0, 0), kind=onnx.TensorProto.INT32),
    "a file elsewhere": lambda _: model(external("/etc/passwd")),
    "a file above": lambda _: model(external("../secret")),
    "a file that is not there": lambda _: model(external("none")),
    "a tensor of terabytes": lambda _: model(
        onnx.TensorProto(name="weights", data_type=FLOAT, dims=[2**40, 3], raw_data=b"")
    ),
    "a spec without end": lambda _: changed(spec="[" * 100_000),
    "a spec of nothing": lambda _: changed(spec="null"),
    "a spec of a number": lambda _: changed(spec="1"),
    "a temperature of zero": lambda _: changed(
        spec=metadata(SPEC, {})["spec"].replace('"temperature": 1.0', '"temperature": 0')
    ),
    "metrics of nothing": lambda _: changed(metrics="[]"),
    "no onnx": lambda _: b"\x08" * 5000,
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_get_one_sentence(tmp_path: Path, name: str) -> None:
    from classifier.inference.onnx_backend import OnnxPredictor

    (tmp_path / "secret").write_bytes(np.zeros(3, np.float32).tobytes())
    (tmp_path / "models").mkdir()
    path = tmp_path / "models/model.onnx"
    path.write_bytes(HOSTILE[name](tmp_path))
    with pytest.raises(UserError, match=r"model\.onnx: ") as error:
        OnnxPredictor(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_the_file_that_all_of_them_are_made_of_is_right() -> None:
    from classifier.inference.onnx_backend import OnnxPredictor

    found = OnnxPredictor(model(weights(0, 1, 2))).probabilities(np.zeros((2, 5, 5, 1), np.uint8))
    assert found.tolist() == [[0, 1, 2]] * 2
