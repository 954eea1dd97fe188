"""FP32 network -> INT8 by NNCF's post-training quantisation, held to a budget of accuracy."""

import contextlib
import logging

import numpy as np


def quantize(network, calibration, inputs, labels, *, max_drop):
    """The OpenVINO model in INT8; layers that cost too much stay in FP32, so that accuracy falls by at most `max_drop` if it can.

    network: the OpenVINO model on normalised floats. calibration: training images, inputs: validation images, each a sequence of
    float32 (1, 3, S, S) that may make an image when it is asked for; labels: of the latter. max_drop: share of right answers, 0.005
    is half a point. The caller measures what was reached.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # NNCF has it look for a compiler of GPU code
    import nncf  # takes seconds, and only INT8 needs it

    nncf.set_log_level(logging.ERROR)  # it reports every step; the caller says what was reached

    def count_right(compiled, numbers):
        """(accuracy, 1 for every right answer) of the validation images `numbers`; NNCF asks for parts of them too."""
        right = [float(compiled(inputs[i])[0].argmax() == labels[i]) for i in numbers]
        return float(np.mean(right)), right

    with contextlib.redirect_stdout(None):  # its bars are drawn into files and pipes too
        return nncf.quantize_with_accuracy_control(
            network,
            nncf.Dataset(range(len(calibration)), lambda i: calibration[i]),
            nncf.Dataset(range(len(labels)), lambda i: inputs[i]),
            validation_fn=count_right,
            max_drop=max_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            preset=nncf.QuantizationPreset.MIXED,  # activations after hard-swish are not symmetric
            subset_size=len(calibration),
        )
