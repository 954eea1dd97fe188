"""The test part of a data set, which nothing was chosen by: all that a run has made is measured on it once, in the end."""

import numpy as np

from common.errors import UserError
from deploy.engines import onnx_runner, openvino_runner, torch_runner
from deploy.parity import probabilities
from recipe.pictures import open_test
from recipe.saved_model import load_model, load_teacher
from utils.config import load_resolved
from utils.metrics import accuracy
from utils.runlog import log

BATCH = 64  # pictures in memory at a time
TEACHER = "teacher"


def measure_on_test(run, export, files):
    """{'pictures': how many, 'fingerprint': of them, 'accuracy': {what: accuracy}} of a finished run; {} without a test part.

    what: `teacher`, the mean of the folds' models, where there is one; then as `recipe.exporting.Export.check` names them. Each
    model sees the pictures as it was trained to. Raises UserError where test pictures cannot be used.
    """
    test = open_test(run, export.saved.preprocessing, export.training)
    if test is None:
        return {}
    log.info(f"test: measuring what the run has made on {len(test)} pictures")
    taken = export.taken
    answers = {
        "PyTorch": _answers(torch_runner(export.saved.model), test, taken.preprocessing.network_input),
        "ONNX Runtime": _answers(onnx_runner(files.onnx, fixed_batch=taken.fixed_batch), test, taken.onnx_input),
        "OpenVINO": _answers(openvino_runner(files.network), test, taken.ir_input),
    }
    if files.network_int8.is_file():
        answers["OpenVINO INT8"] = _answers(openvino_runner(files.network_int8), test, taken.ir_input)
    teacher = _of_teacher(run, export.training)
    answers = answers if teacher is None else {TEACHER: teacher, **answers}
    reached = {what: accuracy(probs, test.labels) for what, probs in answers.items()}
    return {"pictures": len(test), "fingerprint": test.fingerprint, "accuracy": reached}


def _of_teacher(run, training):
    """Probabilities (N, K): the mean of all folds' models, with mirror images if it answers so; None without a whole teacher."""
    folder = run.folder.of_teacher(run.config.student.oof)
    try:
        paths = folder.teachers()
    except UserError:
        return None
    preprocessing = load_model(paths[0]).preprocessing
    test, flip = open_test(run, preprocessing, training), load_resolved(folder.config("teacher")).teacher.flip_test
    votes = []
    for path in paths:
        ask = torch_runner(load_teacher(path, run.config.student, training).model)
        votes.append(_answers(ask, test, preprocessing.network_input))
        if flip:
            votes.append(_answers(lambda x, ask=ask: ask(np.ascontiguousarray(x[..., ::-1])), test, preprocessing.network_input))
    return np.mean(votes, axis=0)


def _answers(ask, test, convert):
    """Probabilities (N, K); ask: a runner of deploy/engines.py; convert: squares uint8 (B, R, R, 3) -> its input."""
    starts = range(0, len(test), BATCH)
    return probabilities(ask, (convert(test.images[start : start + BATCH]) for start in starts))
