"""From published weights to ONNX graphs, once per model and machine: the only modules that import `onnx`."""
