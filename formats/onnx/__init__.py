"""Plain ONNX files."""
