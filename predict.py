"""Classify pictures with a trained student: a table of classes and probabilities.

    python predict.py runs/demo PICTURE FOLDER 'GLOB*.jpg'                 to the terminal, as CSV
    python predict.py runs/demo FOLDER --output answers.csv                or answers.json
    python predict.py runs/demo --list files.csv --output answers.csv      a table of paths, as long as you like
    python predict.py runs/demo --list files.csv --output answers --ray    by a Ray cluster, into a folder of Parquet files
    python predict.py runs/demo/deploy/model_int8.xml FOLDER
    python predict.py runs/demo FOLDER --explain maps                      where the network looked (Grad-CAM)
    python predict.py runs/demo FOLDER --reject 0.6                        `unknown` where it is less sure
    python predict.py runs/demo/teacher FOLDER --flip                      the mean of all folds' models, each picture mirrored too

Takes a run folder (its exported IR, else its checkpoint), its teacher, an IR or a checkpoint. Exported networks are calibrated: of
the answers with a confidence of 0.8 about four in five are right. A file that is no picture gets a row with the reason; the exit
status is 1 only when no picture could be read. Interrupted? The answers so far are in answers.part.csv; the same command goes on.
"""

import argparse
import glob
import itertools
import os
import sys
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from common.errors import UserError
from common.files import check_writable, sha256
from data.decode import MAX_PIXELS
from data.index import picture_files
from data.tables import table_parts
from recipe import cluster
from recipe.answers import AnswerFile, ReaderGone, Terminal, answer
from recipe.explaining import Explainer, as_text
from recipe.predictor import open_predictor, student_of
from utils import session
from utils.runlog import log, start_printing


def main(argv=None):
    args = parse(argv)
    start_printing(sys.stderr)  # the answers go to the terminal
    predictor = open_predictor(args.model, flip=args.flip, reject_below=args.reject)
    explainer = Explainer(student_of(predictor), args.explain) if args.explain else None
    if args.output and not args.ray:
        check_output(args.output)
    pictures, how_many = wanted_pictures(args)
    if args.ray:
        answer_on_cluster(args, predictor, pictures)
        return
    answers = open_answers(args, predictor)
    with suppress(ReaderGone), answers:
        remaining = answers.remaining(pictures)
        for shown, file in tqdm(remaining, unit="picture", initial=answers.count, total=how_many, disable=None):
            answers.add(answer(predictor, shown, file, explainer, args.max_pixels))
        if not answers.count:
            raise UserError(f"{args.list}: names no pictures.")
    refuse_all_failed(answers.count, answers.failed, answers.first_failure)


def answer_on_cluster(args, predictor, pictures):
    """The nodes answer parts of the list, each process with a network of its own."""
    from recipe.answer_parts import Answerer, AnswerParts  # pyarrow, half a second

    arguments = args.output, args.model, args.flip, args.reject, args.max_pixels, args.cpus or 1
    with AnswerParts(args.output, pictures, made_with(args, predictor)) as parts:
        if missing := parts.missing():
            with cluster.connected(args, args.output) as nodes, tqdm(total=len(parts.numbers), unit="part", disable=None) as bar:
                bar.update(len(parts.numbers) - len(missing))
                for _ in nodes.map(Answerer, arguments, missing):
                    bar.update()
        counts, failed, first = zip(*map(parts.tally, parts.numbers), strict=True) if parts.numbers else ((), (), ())
    if not counts:
        raise UserError(f"{args.list}: names no pictures.")
    log.info(f"{sum(counts)} answers in {args.output}")
    refuse_all_failed(sum(counts), sum(failed), next(filter(None, first), None))


def refuse_all_failed(count, failed, first):
    """UserError where no file was answered. count: of all rows; failed: of those with an error, the first of which is `first`."""
    if count and failed == count:
        raise UserError(f"none of the {count} files could be answered; the first: {first}")


def open_answers(args, predictor):
    """Where the rows go: the file that is named, or the terminal."""
    return AnswerFile(args.output, predictor.classes, made_with(args, predictor)) if args.output else Terminal(predictor.classes)


def made_with(args, predictor):
    """What the answers depend on besides the pictures, of JSON types."""
    return {
        "model": [sha256(file) for file in predictor.files], "classes": predictor.classes, "flip": predictor.flip,
        "temperature": predictor.temperature, "reject_below": predictor.reject_below, "max_pixels": args.max_pixels,
        "root": as_text(os.path.abspath(args.root)), "explain": args.explain and as_text(os.path.abspath(args.explain)),
    }  # fmt: skip


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=named_path, help="run folder, RUN/teacher, model.xml or checkpoint.pth")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="pictures, folders (at any depth) or glob patterns")
    parser.add_argument("--list", type=named_path, metavar="FILE", help="a table of pictures too, .csv or .parquet; a row for each")
    parser.add_argument("--path-column", default="path", metavar="NAME", help="the column of --list with the paths (default: path)")
    parser.add_argument("--root", type=named_path, default=Path(), metavar="FOLDER",
                        help="where relative paths of --list begin (default: here)")  # fmt: skip
    parser.add_argument("--output", type=named_path, metavar="FILE", help="a .csv or .json file (default: CSV on the terminal)")
    parser.add_argument(
        "--explain", type=named_path, metavar="FOLDER", help="write there each picture with its class activation map"
    )
    parser.add_argument("--reject", type=session.share, metavar="X",
                        help="the class is 'unknown' where the confidence is below X, 0..1 (default: as exported)")  # fmt: skip
    parser.add_argument("--flip", action="store_true", help="the mean of the answers for each picture and its mirror image")
    parser.add_argument("--max-pixels", type=session.positive, default=MAX_PIXELS, metavar="N",
                        help="larger pictures are refused unopened (default: %(default)s)")  # fmt: skip
    cluster.add_arguments(parser, gpus=False)
    args = parser.parse_args(argv)
    cluster.check_arguments(parser, args)
    if args.ray and (not args.output or args.output.suffix or args.explain):
        parser.error("--ray takes --output FOLDER, a name without a suffix, and goes without --explain")
    if not args.paths and not args.list:
        parser.error("give PATHs, or a table of them: --list FILE")
    if args.output and not args.ray and args.output.suffix.lower() not in (".csv", ".json"):
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


def wanted_pictures(args):
    """((path as it is told, file) of each picture, how many), the number None where a table is read as it is needed."""
    files = find_pictures(args.paths)
    found = ((as_text(file), Path(file)) for file in files)
    if not args.list:
        return found, len(files)
    return itertools.chain(found, listed_pictures(args.list, args.path_column, args.root)), None


def find_pictures(paths):
    """Names of the files that `paths` name, in that order; folders and patterns sorted. UserError for what matches nothing."""
    found = []
    for path in paths:
        named = [Path(name) for name in _existing(os.path.expanduser(path))]
        files = [file for place in named for file in (picture_files(place) if place.is_dir() else [os.fspath(place)])]
        if not files:
            raise UserError(f"{path or repr(path)}: no such file, or nothing in it.")
        found += files
    return found


def listed_pictures(table, column, root):
    """(path as it stands there, file) for each row of a table, a part of which is in memory; UserError at once for a bad one.

    Rows without a path are left out.
    """
    way_out = "Say which column has the paths: --path-column NAME."
    parts = table_parts(table, {"path": column}, "--list", way_out)
    parts = itertools.chain([next(parts)], parts)
    return ((path, root / path) for part in parts for path in part["path"] if path)


def _existing(path):
    """The path itself if it is there (a name may hold [ or *), else what it matches as a pattern, brackets as such at last."""
    if os.path.lexists(path):
        return [path]
    return sorted(glob.glob(path, recursive=True)) or sorted(glob.glob(path.replace("[", "[[]"), recursive=True))


if __name__ == "__main__":
    session.run_script(main)
