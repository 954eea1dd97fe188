"""Does the page answer as predict.py does, and how fast? On every validation picture, in headless Chromium.

    make page RUN=runs/demo && python benchmarks/page.py runs/demo

Once on the files, which the browser decodes, and once on PNG copies of what Python decodes: what differs then is not the decoder's.
Needs Chromium: apt-get install chromium.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from common.errors import UserError
from common.files import write_json
from recipe.pictures import held_out_files
from recipe.predictor import open_predictor
from utils import session
from utils.runlog import format_table

VISIT = Path(__file__).resolve().parent.parent / "tests" / "browser" / "page.mjs"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="the run's folder, exported with --page")
    args = parser.parse_args(argv)
    run = session.reopen(args.run_dir)
    page = run.folder.exported.page
    if not page.is_dir() or not run.folder.export_is_current():
        raise UserError(f"{page}: not there, or of an older student. Run: make page RUN={args.run_dir}")
    files, _ = held_out_files(run)
    predictor = open_predictor(run.folder.path)
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder, f"{i}.png") for i in range(len(files))]
        for path, copy in zip(files, copies, strict=True):
            Image.fromarray(predictor.read(path)).save(copy, compress_level=1)
        expected = np.stack([predictor(predictor.read(path)) for path in files])
        rows = [row(name, expected, *visit(page, paths, predictor.classes))
                for name, paths in (("files", files), ("PNG copies of them", copies))]  # fmt: skip
    print(f"{len(files)} pictures")
    print(
        format_table(rows, ("pictures", "same class", "largest difference", "mean", "network p50 ms", "p99", "all p50 ms", "p99"))
    )


def visit(page, files, classes):
    """What the page answers: probabilities (N, K), and milliseconds (N, 2), of the network and in all."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "plan.json")
        pictures = [str(path.resolve()) for path in files]
        write_json(plan, {"python": sys.executable, "root": str(page.resolve().parent), "page": page.name,
                          "pictures": pictures, "visits": ["answers"]})  # fmt: skip
        done = subprocess.run(["node", VISIT, plan], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{VISIT} failed: {done.stderr.strip()}")
    found = json.loads(done.stdout)["answers"]
    if "error" in found:
        raise UserError(f"{VISIT}: {found['error']}")
    probs = [[answer["probabilities"][name] for name in classes] for answer in found["answers"]]
    return np.array(probs), np.array([answer["milliseconds"] for answer in found["answers"]])


def row(name, expected, probs, milliseconds):
    same = int((expected.argmax(1) == probs.argmax(1)).sum())
    difference = np.abs(expected - probs)
    times = np.percentile(milliseconds[1:], [50, 99], axis=0).T.ravel()  # the first one warms up
    return (name, f"{same} of {len(probs)}", f"{difference.max():.1e}", f"{difference.mean():.1e}", *(f"{t:.0f}" for t in times))


if __name__ == "__main__":
    session.run_script(main)
