"""From a trained checkpoint to files that run without PyTorch: fuse, ONNX, OpenVINO IR, parity, manifest, benchmark."""
