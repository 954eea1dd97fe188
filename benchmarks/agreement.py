"""Do all ways to run a finished student give the same answers? On every validation picture, from file to class.

    make cpp && python export_openvino.py runs/demo && python benchmarks/agreement.py runs/demo

PyTorch, the exported IR (the one in INT8 too, where it was exported) and the C++ program against each other, and OpenVINO Model
API against predict.py on an IR that takes whole pictures (--input uint8 --resize), made for this.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from model_api.models import ClassificationModel

from benchmarks.cpp_program import add_classify, asking, check_built
from common.errors import UserError
from deploy.inputs import NetworkInput
from recipe.exporting import export_ir
from recipe.pictures import held_out_files
from recipe.predictor import CheckpointPredictor, IrPredictor, check_exported
from utils import session
from utils.runlog import format_table

ABOVE = "(against the one above)"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="the run's folder, exported")
    add_classify(parser)
    args = parser.parse_args(argv)
    check_built(args.classify)
    run = session.reopen(args.run_dir)
    xml_path = run.folder.exported.network
    check_exported(run.folder, xml_path)
    files, labels = held_out_files(run)
    checkpoint = CheckpointPredictor(run.folder.shipped())

    expected = predictions(checkpoint, files)

    def row(way, probs, reference=expected):
        return way, *compared(reference, probs), right(probs, labels, checkpoint.classes)

    rows = [
        row("PyTorch", expected),
        row("OpenVINO IR, Python", predictions(IrPredictor(xml_path), files)),
        row("OpenVINO IR, C++", cpp_predictions(args.classify, xml_path, files, checkpoint.classes)),
    ]
    if run.folder.exported.network_int8.is_file():
        ours = predictions(IrPredictor(run.folder.exported.network_int8), files)
        theirs = cpp_predictions(args.classify, run.folder.exported.network_int8, files, checkpoint.classes)
        rows += [row("INT8, Python", ours), row(f"INT8, C++ {ABOVE}", theirs, ours)]
    with tempfile.TemporaryDirectory() as folder:
        whole = NetworkInput(checkpoint.preprocessing, pixels=True, color="bgr", whole_pictures=True)
        path = export_ir(checkpoint.model, checkpoint.classes, whole, Path(folder, "whole"))
        predictor = IrPredictor(path)
        ours = predictions(predictor, files)
        theirs = model_api_predictions(path, predictor.read, files)
        rows += [row("IR that resizes, predict.py", ours), row(f"Model API {ABOVE}", theirs, ours)]
    print(f"{len(files)} pictures")
    print(format_table(rows, ("way", "same class", "largest difference of probabilities", "accuracy")))


def predictions(predictor, files):
    """float (N, K)."""
    return np.stack([predictor(predictor.read(path)) for path in files])


def cpp_predictions(program, xml_path, files, classes):
    with asking(program, xml_path, files) as command:
        done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise UserError(f"{program} failed: {done.stderr.decode(errors='replace').strip()}")
    answers = json.loads(done.stdout)
    if wrong := [answer for answer in answers if "error" in answer]:
        raise UserError(f"{program} cannot read {len(wrong)} of {len(files)} pictures, the first: {wrong[0]}")
    return np.array([[answer["probabilities"][name] for name in classes] for answer in answers])


def model_api_predictions(xml_path, read, files):
    """With no argument but the path, on the pixels that predict.py sees, in OpenCV's order."""
    model = ClassificationModel.create_model(str(xml_path))
    return np.stack([model(np.ascontiguousarray(cv2.cvtColor(read(path), cv2.COLOR_RGB2BGR))).raw_scores for path in files])


def compared(expected, probs):
    same = int((expected.argmax(1) == probs.argmax(1)).sum())
    return f"{same} of {len(probs)}", f"{np.abs(expected - probs).max():.1e}"


def right(probs, labels, classes):
    return f"{np.mean([classes[k] == label for k, label in zip(probs.argmax(1), labels, strict=True)]):.4f}"


if __name__ == "__main__":
    session.run_script(main)
