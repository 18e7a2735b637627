"""The model in use: predict, export, ONNX."""
