"""How long does the report of many pictures take, and how large is it?

    python benchmarks/report.py --pictures 100000

Makes that many small pictures, and a tenth of them more to judge by; a teacher's table that is right in nine of ten; and a student
that has learnt nothing. Tells seconds, size and memory of their report.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

import export_openvino
from common.files import write_text
from data.folds import assign_folds
from data.targets import one_hot, write_oof
from data.textiles import PATTERNS, draw_fabric
from recipe.labels import judge_labels
from recipe.pictures import open_data, preprocessing_of
from recipe.saved_model import checkpoint_meta, new_model
from recipe.training import settings
from reports.page import write_report
from utils import session
from utils.checkpoints import save_checkpoint
from utils.config import as_python

CONFIG = """
name = "many"
work_dir = {work_dir!r}
data = dict(root={root!r}, val_root={val_root!r})
student = dict(weights="none", image_size=64, resize=64)
"""
DRAWN = 20  # different pictures of each class; the others are these, with other bytes at their ends


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000, help="to learn from (default: %(default)s)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as place:
        run = make_run(Path(place), args.pictures)
        export_openvino.main([str(run.folder.path), "--no-report"])
        before, start = _peak_memory(), time.perf_counter()
        write_report(session.reopen(run.folder.path), run.folder.report)
        seconds, size = time.perf_counter() - start, run.folder.report.stat().st_size / 2**20
        print(
            f"{args.pictures} pictures: {seconds:.1f} s, {size:.1f} MiB, {_peak_memory() - before:.0f} MiB more memory at its peak"
        )


def make_run(place, count):
    """The run folder of `count` pictures, as e4.py and m11.py leave one."""
    for part, number in (("train", count), ("validation", max(len(PATTERNS), count // 10))):
        write_pictures(place / part, number, mark=part.encode())
    values = {"work_dir": str(place), "root": str(place / "train"), "val_root": str(place / "validation")}
    write_text(place / "many.py", CONFIG.format(**values))
    run = session.start(str(place / "many.py"), [])
    section = run.config.student
    dataset, validation = open_data(run, preprocessing_of(section))
    write_text(run.folder.config("teacher"), as_python(run.config))
    probs = teacher_says(dataset.labels, len(dataset.classes))
    write_oof(run.folder.oof, dataset, assign_folds(dataset.table, 5, seed=0), probs)
    run.folder.save_results("teacher", {"oof_accuracy": 0.9, **judge_labels(run, dataset, probs)})
    run.folder.claim("student", settings(run, section, dataset, held_out=validation.fingerprint), as_python(run.config))
    meta = checkpoint_meta(section, dataset, "validation pictures")
    save_checkpoint(run.folder.student.averaged, new_model(run, section, len(dataset.classes)).state_dict(), meta)
    return run


def write_pictures(root, count, mark):
    """`count` different JPEG files in the folders of the classes of embedded pictures; the bytes `mark` are in all of them."""
    rng, names = np.random.default_rng(0), list(PATTERNS)
    for name in names:
        (root / name).mkdir(parents=True)
    drawn = {name: [_jpeg(draw_fabric(name, rng, size=64)) for _ in range(DRAWN)] for name in names}
    for i in range(count):
        name = names[i % len(names)]
        (root / name / f"{i}.jpg").write_bytes(drawn[name][i // len(names) % DRAWN] + mark + i.to_bytes(8, "big"))


def teacher_says(labels, num_classes):
    """float32 (N, K): the label is the most probable class of nine pictures in ten."""
    rng, count = np.random.default_rng(0), len(labels)
    answers = np.where(rng.random(count) < 0.9, labels, rng.integers(num_classes, size=count))
    return (0.2 * rng.dirichlet(np.ones(num_classes), count) + 0.8 * one_hot(answers, num_classes)).astype(np.float32)


def _jpeg(pixels):
    return cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()


def _peak_memory():
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    session.run_script(main)
