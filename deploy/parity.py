"""Do the exported files answer as the model that was trained?"""

import numpy as np
import onnxruntime
from scipy.special import softmax

from common.errors import UserError
from deploy.onnx_file import INPUT
from deploy.openvino_ir import compile_ir


class ParityError(UserError):
    """An exported file answers differently from the model it was made of."""


def onnx_probabilities(path, batches):
    """Probabilities float32 (N, K) of the ONNX file on `batches` of its input, by ONNX Runtime on the CPU."""
    run = onnx_session(path)
    return np.concatenate([softmax(run(batch), axis=1) for batch in batches])


def ir_probabilities(xml_path, batches):
    """Probabilities float32 (N, K) of the IR on `batches` of its input, by OpenVINO on the CPU in FP32."""
    compiled = compile_ir(xml_path)
    return np.concatenate([softmax(compiled(batch)[0], axis=1) for batch in batches])


def onnx_session(path, num_threads=0):
    """batch -> logits by ONNX Runtime; num_threads 0: all cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {INPUT: batch})[0]


def check_parity(reference, others, tolerance):
    """{name: largest difference from `reference`} for probabilities (N, K) in the dict `others`.

    Raises ParityError with all differences when one is over `tolerance` or not a number.
    """
    differences = {name: float(np.abs(probs - reference).max()) for name, probs in others.items()}
    if not all(value <= tolerance for value in differences.values()):
        listed = ", ".join(f"{name} {value:.2e}" for name, value in differences.items())
        raise ParityError(
            f"the exported files answer differently from PyTorch: largest difference of probabilities {listed}, "
            f"allowed {tolerance:.0e}. Nothing was written. Report the backbone, or raise export.tolerance if you accept it."
        )
    return differences
