"""The edge node: a light daemon that runs models with ONNX Runtime on a local GPU or CPU."""
