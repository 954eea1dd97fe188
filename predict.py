"""Classify pictures with a trained student: a table of classes and probabilities.

    python predict.py runs/demo PICTURE FOLDER 'GLOB*.jpg'                 to the terminal, as CSV
    python predict.py runs/demo FOLDER --output answers.csv                or answers.json
    python predict.py runs/demo/deploy/model_int8.xml FOLDER
    python predict.py runs/demo FOLDER --explain maps                      where the network looked (Grad-CAM)
    python predict.py runs/demo FOLDER --reject 0.6                        `unknown` where it is less sure
    python predict.py runs/demo/teacher FOLDER --flip                      the mean of all folds' models, each picture mirrored too

Takes a run folder (its exported IR, else its checkpoint), its teacher, an IR or a checkpoint. Exported networks are calibrated: of
the answers with a confidence of 0.8 about four in five are right. A file that is no picture gets a row with the reason; the exit
status is 1 only when no picture could be read.
"""

import argparse
import glob
import os
import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from common.errors import UserError, os_user_error
from common.files import check_writable, csv_quoting, write_csv, write_json
from data.decode import MAX_PIXELS, UnreadableImage
from data.index import picture_files
from recipe.explaining import Explainer, as_text
from recipe.predictor import open_predictor, student_of
from utils import session
from utils.runlog import start_printing


def main(argv=None):
    args = parse(argv)
    start_printing(sys.stderr)  # the answers go to the terminal
    predictor = open_predictor(args.model, flip=args.flip, reject_below=args.reject)
    explainer = Explainer(student_of(predictor), args.explain) if args.explain else None
    if args.output:
        check_output(args.output)
    files = find_pictures(args.paths)
    rows = [answer(predictor, path, explainer, args.max_pixels) for path in tqdm(files, unit="picture", disable=None)]
    write(rows, predictor.classes, args.output)
    if all(row["error"] for row in rows):
        raise UserError(f"none of the {len(rows)} files could be answered; the first: {rows[0]['path']}: {rows[0]['error']}")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=named_path, help="run folder, RUN/teacher, model.xml or checkpoint.pth")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="pictures, folders (at any depth) or glob patterns")
    parser.add_argument("--output", type=named_path, metavar="FILE", help="a .csv or .json file (default: CSV on the terminal)")
    parser.add_argument(
        "--explain", type=named_path, metavar="FOLDER", help="write there each picture with its class activation map"
    )
    parser.add_argument("--reject", type=session.share, metavar="X",
                        help="the class is 'unknown' where the confidence is below X, 0..1 (default: as exported)")  # fmt: skip
    parser.add_argument("--flip", action="store_true", help="the mean of the answers for each picture and its mirror image")
    parser.add_argument("--max-pixels", type=session.positive, default=MAX_PIXELS, metavar="N",
                        help="larger pictures are refused unopened (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(argv)
    if args.output and args.output.suffix.lower() not in (".csv", ".json"):
        parser.error(f"--output {args.output}: takes a name that ends in .csv or .json")
    return args


def named_path(text):
    """The path that a user means, `~` included; an empty text (a variable of the shell that is not set) is a mistake."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name")
    return Path(text).expanduser()


def check_output(file):
    """UserError, before the work, where the table could not be written after it."""
    if file.is_dir():
        raise UserError(f"{file}: a folder of this name is in the way. Choose another name for --output.")
    check_writable(file.parent)


def find_pictures(paths):
    """The files that `paths` name, in that order; folders and patterns sorted. Raises UserError for what matches nothing."""
    found = []
    for path in paths:
        named = [Path(name) for name in _existing(os.path.expanduser(path))]
        files = [file for place in named for file in (picture_files(place) if place.is_dir() else [place])]
        if not files:
            raise UserError(f"{path or repr(path)}: no such file, or nothing in it.")
        found += files
    return found


def _existing(path):
    """The path itself if it is there (a name may hold [ or *), else what it matches as a pattern, brackets as such at last."""
    if os.path.lexists(path):
        return [path]
    return sorted(glob.glob(path, recursive=True)) or sorted(glob.glob(path.replace("[", "[[]"), recursive=True))


def answer(predictor, path, explainer, max_pixels):
    """One row of the table."""
    shown = as_text(path)
    try:
        probs = predictor(predictor.read(path, max_pixels))
    except (UnreadableImage, UserError) as error:
        return {"path": shown, "class": None, "confidence": None, "probabilities": None, "error": str(error)}
    best = int(probs.argmax())
    if explainer:
        explainer.write(path, max_pixels, best)
    named = dict(zip(predictor.classes, map(float, probs), strict=True))
    return {"path": shown, "class": predictor.class_of(probs), "confidence": named[predictor.classes[best]],
            "probabilities": named, "error": None}  # fmt: skip


def write(rows, classes, output):
    """The table as CSV (a column p_<class> each) or JSON."""
    if output and output.suffix.lower() == ".json":
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
        print_table(table.to_csv(index=False, float_format="%.4f", lineterminator="\n", quoting=csv_quoting(table)))


def print_table(text):
    """Write to the terminal or the pipe in UTF-8, whatever its own encoding: names are any text."""
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python writes as it ends
    except OSError as error:
        raise os_user_error(error, "standard output") from error


if __name__ == "__main__":
    session.run_script(main)
