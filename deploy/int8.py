"""FP32 network -> INT8 by NNCF's post-training quantisation, held to a budget of accuracy."""

import contextlib
import logging

import numpy as np
import openvino as ov


def quantize(onnx_path, calibration, inputs, labels, *, max_drop):
    """The OpenVINO model in INT8; layers that cost too much stay in FP32, so that accuracy falls by at most `max_drop` if it can.

    onnx_path: the network on normalised floats. calibration, inputs: float32 (N, 3, S, S) training and validation images;
    labels (N,) of the latter; max_drop: share of right answers, 0.005 is half a point. The caller measures what was reached.
    """
    model = ov.convert_model(str(onnx_path))
    with _quietly("torch.utils.cpp_extension"):  # importing NNCF makes PyTorch warn of a missing CUDA
        import nncf  # takes seconds, and only INT8 needs it
    with _quietly("nncf"):  # it reports every step; the caller says what was reached
        return nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset(list(calibration), lambda image: image[None]),
            nncf.Dataset(list(zip(inputs, labels, strict=True)), lambda pair: pair[0][None]),
            validation_fn=_accuracy,
            max_drop=max_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            preset=nncf.QuantizationPreset.MIXED,  # activations after hard-swish are not symmetric
            subset_size=len(calibration),
        )


def _accuracy(compiled, pairs):
    """(accuracy, 1 for every right answer) over (image, label) pairs; NNCF asks for parts of the data set too."""
    right = [float(compiled(image[None])[0].argmax() == label) for image, label in pairs]
    return float(np.mean(right)), right


@contextlib.contextmanager
def _quietly(name):
    """Only errors from the logger `name`. Importing NNCF sets its level, so it must have been imported before."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
