"""Classify pictures with a trained student: a table of classes and probabilities.

    python predict.py runs/demo PICTURE FOLDER 'GLOB*.jpg'                 to the terminal, as CSV
    python predict.py runs/demo FOLDER --output answers.csv                or answers.json
    python predict.py runs/demo/deploy/model_int8.xml FOLDER
    python predict.py runs/demo FOLDER --explain maps                      where the network looked (Grad-CAM)

Takes a run folder (its exported IR, else its checkpoint), an IR or a checkpoint. A file that is no picture gets a row with the
reason; the exit status is 1 only when no picture could be read.
"""

import argparse
import glob
import sys
from pathlib import Path

import cv2
import pandas as pd
from tqdm import tqdm

from common.errors import UserError
from common.files import atomic_path, write_csv, write_json
from data.decode import UnreadableImage, read_rgb
from data.index import picture_files
from deploy.explain import grad_cam, overlay
from recipe.predictor import CheckpointPredictor, open_predictor, student_checkpoint
from utils import session


def main(argv=None):
    args = parse(argv)
    predictor = open_predictor(args.model)
    explainer = Explainer(args.model, args.explain) if args.explain else None
    rows = [answer(predictor, path, explainer) for path in tqdm(find_pictures(args.paths), unit="picture", disable=None)]
    write(rows, predictor.classes, args.output)
    if all(row["error"] for row in rows):
        raise UserError(f"none of the {len(rows)} files could be read; the first: {rows[0]['path']}: {rows[0]['error']}")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run folder, model.xml or checkpoint.pth")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="pictures, folders (at any depth) or glob patterns")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a .csv or .json file (default: CSV on the terminal)")
    parser.add_argument("--explain", type=Path, metavar="FOLDER", help="write there each picture with its class activation map")
    args = parser.parse_args(argv)
    if args.output and args.output.suffix not in (".csv", ".json"):
        parser.error(f"--output {args.output}: takes a name that ends in .csv or .json")
    return args


def find_pictures(paths):
    """The files that `paths` name, in that order; folders and patterns sorted. Raises UserError for what matches nothing."""
    found = []
    for path in paths:
        if Path(path).is_dir():
            files = list(picture_files(Path(path)))
        elif Path(path).exists():
            files = [Path(path)]
        else:
            files = [Path(name) for name in sorted(glob.glob(path, recursive=True))]
        if not files:
            raise UserError(f"{path}: no such file, or nothing in it.")
        found += files
    return found


def answer(predictor, path, explainer):
    """One row of the table."""
    try:
        pixels = read_rgb(path)
    except UnreadableImage as error:
        return {"path": str(path), "class": None, "confidence": None, "probabilities": None, "error": str(error)}
    probs = predictor(pixels)
    best = int(probs.argmax())
    if explainer:
        explainer.write(path, pixels, best)
    named = dict(zip(predictor.classes, map(float, probs), strict=True))
    return {"path": str(path), "class": predictor.classes[best], "confidence": named[predictor.classes[best]],
            "probabilities": named, "error": None}  # fmt: skip


class Explainer:
    """Writes pictures with the class activation map of the class that was answered."""

    def __init__(self, model, folder):
        self.folder, self.predictor, self.written = folder, CheckpointPredictor(student_checkpoint(model)), set()
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, path, pixels, class_index):
        heat = grad_cam(self.predictor.model, self.predictor.network_tensor(pixels), class_index)
        size = self.predictor.input.preprocessing
        if self.predictor.input.fit != "stretch":
            pixels = self.predictor.input.square(pixels)  # the map covers the grey beside the picture too
        picture = overlay(pixels, heat, size["image_size"] / size["resize"])
        with atomic_path(self._free_name(path)) as temporary:
            Path(temporary).write_bytes(cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes())

    def _free_name(self, path):
        """folder/<name>.jpg, numbered where several pictures have the same name."""
        name, number = path.stem, 1
        while name in self.written:
            number += 1
            name = f"{path.stem}-{number}"
        self.written.add(name)
        return self.folder / f"{name}.jpg"


def write(rows, classes, output):
    """The table as CSV (a column p_<class> each) or JSON."""
    if output and output.suffix == ".json":
        write_json(output, rows)
        return
    flat = [
        {key: row[key] for key in ("path", "class", "confidence")}
        | {f"p_{name}": (row["probabilities"] or {}).get(name) for name in classes}
        | {"error": row["error"]}
        for row in rows
    ]
    table = pd.DataFrame(flat)
    if output:
        write_csv(output, table)
    else:
        table.to_csv(sys.stdout, index=False, float_format="%.4f")


if __name__ == "__main__":
    session.run_script(main)
