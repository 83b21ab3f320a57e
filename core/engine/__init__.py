"""Engine: running a network with onnxruntime, whole or in parts."""
