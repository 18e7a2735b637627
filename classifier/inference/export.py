"""Models in formats that others read: ONNX, torch.export, plain safetensors.

The bytes depend on the model alone, so that an export can be the output of a DVC stage.
"""

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier.core.errors import not_installed
from classifier.core.files import replacing
from classifier.core.types import Float32Array, UInt8Array
from classifier.inference.onnx_metadata import INPUT, metadata, outputs
from classifier.models.model_file import stored_weights
from classifier.models.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

    from classifier.models.classifier import Classifier

OPSET = 18  # ONNX Runtime 1.14 (2023) and later read it
CALIBRATION = 512  # images from which int8 learns the range of every activation
_SIZES = (2, 40, 56)  # of the example that the exporters follow: all three stay free


def onnx_bytes(
    network: "Classifier", spec: ModelSpec, metrics: Mapping[str, Any], model: str = ""
) -> bytes:
    """The model as ONNX: uint8 [N, H, W, C] of any size -> probabilities float32 [N, K].

    Args:
        model: goes to the metadata, with ``spec`` and ``metrics``: the model file's SHA-256.

    Raises:
        UserError: the packages of the extra ``export`` are missing.
    """
    made = _onnx_model(network, spec, metrics, model)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _onnx_model(
    network: "Classifier", spec: ModelSpec, metrics: Mapping[str, Any], file: str
) -> "onnx.ModelProto":
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise not_installed(str(error.name), "export") from None
    import torch

    from classifier.inference.exported_graph import Deployed

    free = torch.export.Dim
    dimensions = {INPUT: {0: free("n"), 1: free("height"), 2: free("width")}}
    with _quietly(), torch.inference_mode():
        program = torch.onnx.export(
            Deployed(network, spec),
            (_example(spec),),
            dynamo=True,
            dynamic_shapes=dimensions,
            input_names=[INPUT],
            output_names=outputs(spec),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_source(model)
    onnx.helper.set_model_props(model, metadata(spec, metrics, file))
    onnx.checker.check_model(model, full_check=True)
    return model


def quantized(
    model: bytes, calibration: UInt8Array, spec: ModelSpec, metrics: Mapping[str, Any]
) -> bytes:
    """Convolutions and linear layers in 8-bit integers: static quantization, a scale a channel.

    Args:
        model: what `onnx_bytes` gave.
        calibration: [N, S, S, C] training images; they fix the range of every activation.
        spec: goes to the metadata, with ``metrics``.
    """
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise not_installed(str(error.name), "export") from None

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = iter(np.array_split(calibration, max(1, len(calibration) // 64)))

        def get_next(self) -> dict[str, UInt8Array] | None:
            part = next(self.parts, None)
            return None if part is None else {INPUT: np.ascontiguousarray(part)}

    with tempfile.TemporaryDirectory() as folder, _quietly():
        source, ready, target = (Path(folder) / f"{name}.onnx" for name in ("a", "b", "c"))
        source.write_bytes(model)
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        prepared = onnx.load(ready)
        constants = {tensor.name for tensor in prepared.graph.initializer}
        # Products of two activations, as in attention, stay exact. So does the resizing: it lies
        # in a branch of its own.
        nodes = [
            node.name
            for node in prepared.graph.node
            if node.op_type in ("Conv", "Gemm")
            or (node.op_type == "MatMul" and constants & set(node.input))
        ]
        quantization.quantize_static(
            str(ready),
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            nodes_to_quantize=nodes,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        result = onnx.load(target)
    _forget_source(result)
    onnx.helper.set_model_props(result, metadata(spec, metrics))
    onnx.checker.check_model(result, full_check=True)
    content: bytes = result.SerializeToString(deterministic=True)
    return content


def save_torch_export(path: Path, network: "Classifier", spec: ModelSpec) -> None:
    """Write a program for ``torch.export.load``, with the same input and output as the ONNX file.

    Its extra file ``spec.json`` has the class names and the rest of the model's description.
    """
    import torch

    from classifier.inference.exported_graph import Deployed

    free = torch.export.Dim.DYNAMIC
    with _quietly(), torch.no_grad():
        program = torch.export.export(
            Deployed(network, spec),
            (_example(spec),),
            dynamic_shapes=({0: free, 1: free, 2: free},),
        )
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:  # they name the folders of the machine that exported
                node.meta.pop("stack_trace", None)
    # A buffer, since torch writes a file's name into the file.
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"spec.json": metadata(spec, {})["spec"]})
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def save_safetensors(path: Path, network: "Classifier", spec: ModelSpec) -> None:
    """Write the weights for other programs: tensors by name, and metadata of plain texts."""
    import safetensors.torch

    weights = stored_weights(network)
    # One entry: safetensors writes several in no fixed order.
    facts = {"spec": metadata(spec, {})["spec"]}
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, facts))


def load_torch_export(path: Path) -> Callable[[UInt8Array], Float32Array]:
    """What `save_torch_export` wrote, as a function from images to probabilities."""
    import torch

    program = torch.export.load(path).module()

    def answer(images: UInt8Array) -> Float32Array:
        with torch.inference_mode():
            found = program(torch.from_numpy(images))
        probabilities = found[0] if isinstance(found, tuple) else found
        return np.asarray(probabilities.numpy(), np.float32)

    return answer


def _example(spec: ModelSpec) -> Any:
    import torch

    return torch.zeros((*_SIZES, spec.channels), dtype=torch.uint8)


def _forget_source(model: "onnx.ModelProto") -> None:
    """Drop what names the exporting machine's folders: the same model must give the same bytes."""
    parts: list[Any] = [model]
    while parts:  # graphs lie in the attributes of nodes too
        part = parts.pop()
        for field, value in part.ListFields():
            if field.name in ("doc_string", "metadata_props"):
                part.ClearField(field.name)
            elif field.message_type:
                parts.extend([value] if hasattr(value, "ListFields") else value)


@contextmanager
def _quietly() -> Iterator[None]:
    """Hold back what the exporters tell their developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
