"""Do all ways to run a finished student give the same answers? On every validation picture, from file to class.

    make cpp && python export_openvino.py runs/demo && python benchmarks/agreement.py runs/demo

PyTorch, the exported IR and the C++ program against each other, and OpenVINO Model API against predict.py on an IR that takes
whole pictures (--input uint8 --resize), made for this.
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

from common.errors import UserError
from data.decode import read_rgb
from deploy.inputs import NetworkInput
from recipe import steps
from recipe.exporting import export_ir
from recipe.predictor import CheckpointPredictor, IrPredictor, student_checkpoint
from utils import session
from utils.runlog import format_table

CLASSIFY = Path(__file__).resolve().parent.parent / "build" / "cpp" / "classify"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="the run's folder, exported")
    parser.add_argument("--classify", type=Path, default=CLASSIFY, help="the C++ program that make cpp built")
    args = parser.parse_args(argv)
    xml_path = args.run_dir / "deploy" / "model.xml"
    for path, command in ((xml_path, f"python export_openvino.py {args.run_dir}"), (args.classify, "make cpp")):
        if not path.is_file():
            raise UserError(f"{path}: not there. Run: {command}")
    files, labels = steps.validation_files(session.reopen(args.run_dir))
    checkpoint = CheckpointPredictor(student_checkpoint(args.run_dir))

    expected = predictions(checkpoint, files)
    rows = [("PyTorch", *compared(expected, expected), right(expected, labels, checkpoint.classes))]
    for name, probs in (
        ("OpenVINO IR, Python", predictions(IrPredictor(xml_path), files)),
        ("OpenVINO IR, C++", cpp_predictions(args.classify, xml_path, files, checkpoint.classes)),
    ):
        rows.append((name, *compared(expected, probs), right(probs, labels, checkpoint.classes)))
    with tempfile.TemporaryDirectory() as folder:
        whole = NetworkInput(checkpoint.input.preprocessing, pixels=True, color="bgr", whole_pictures=True)
        path = export_ir(checkpoint.model, checkpoint.classes, whole, Path(folder, "whole"))
        ours = predictions(IrPredictor(path), files)
        rows.append(("IR that resizes, predict.py", *compared(expected, ours), right(ours, labels, checkpoint.classes)))
        theirs = model_api_predictions(path, files)
        rows.append(("Model API (against the one above)", *compared(ours, theirs), right(theirs, labels, checkpoint.classes)))
    print(f"{len(files)} pictures")
    print(format_table(rows, ("way", "same class", "largest difference of probabilities", "accuracy")))


def predictions(predictor, files):
    """float (N, K)."""
    return np.stack([predictor(read_rgb(path)) for path in files])


def cpp_predictions(program, xml_path, files, classes):
    command = [program, "--model", xml_path, "--output", "json", *files]
    answers = json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout)
    return np.array([[answer["probabilities"][name] for name in classes] for answer in answers])


def model_api_predictions(xml_path, files):
    """With no argument but the path, pictures as OpenCV reads them."""
    model = ClassificationModel.create_model(str(xml_path))
    return np.stack([model(np.ascontiguousarray(cv2.cvtColor(read_rgb(path), cv2.COLOR_RGB2BGR))).raw_scores for path in files])


def compared(expected, probs):
    same = int((expected.argmax(1) == probs.argmax(1)).sum())
    return f"{same} of {len(probs)}", f"{np.abs(expected - probs).max():.1e}"


def right(probs, labels, classes):
    return f"{np.mean([classes[k] == label for k, label in zip(probs.argmax(1), labels, strict=True)]):.4f}"


if __name__ == "__main__":
    session.run_script(main)
