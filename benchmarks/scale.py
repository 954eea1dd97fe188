"""What grows with the number of pictures: seconds and peak memory of every step of a run, at several sizes.

    python benchmarks/scale.py --folder /tmp/scale --sizes 1000 10000 100000 1000000

Makes that many small pictures, all different, in ten class folders, once; a million of them and what is made of them take 10 GB.
The network is tiny, since its time is not what grows. Each step is a process of its own that runs the project's functions or
scripts, first on a few pictures, which loads all libraries, then on all of them. Memory is the peak of anonymous memory above what
the process had in between, looked at a hundred times a second; pages of mapped files, such as the cache of pixels, are the kernel's
to drop and do not count. A step may need data that it did not make: its memory counts, its time does not.

The last columns compare with the size before: bytes that each picture more took, and the exponent of the CPU time, which is 1.1
where the time grows with n log n.
"""

import argparse
import contextlib
import gc
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

import export_openvino
import m11
import predict
from benchmarks.processes import fresh_processes
from benchmarks.report import teacher_says
from common.errors import UserError
from common.files import make_folder, write_text
from common.memory import give_back_freed_memory
from data.folds import assign_folds, write_folds
from data.index import list_root
from data.samplers import BalanceClassSampler
from data.targets import merge_oof, write_oof
from data.textiles import PATTERNS, draw_fabric
from recipe.pictures import open_data, preprocessing_of
from reports.page import write_report
from utils import session
from utils.config import as_python
from utils.runlog import format_table

CONFIG = """
name = "scale"
work_dir = {work_dir!r}
data = dict(root={root!r})
student = dict(backbone="test_resnet", weights="none", image_size=32, resize=32, batch_size=128, epochs=1, final_epochs=0)
"""
WARM_UP = 300  # pictures
CLASSES, SIZE, NOISE = 10, 32, 32  # pixels of a side, grey levels
FOLDS = 5
LOOK = 0.01  # seconds between two looks at a process's memory


def main(argv=None):
    args = parse(argv)
    for size in [WARM_UP, *args.sizes]:
        make_pictures(args.folder / str(size), size)
    before, rows = {}, []
    for size in sorted(args.sizes):
        for name in args.stages:
            measured = measure(name, args.folder, size)
            rows.append((name, f"{size:,}", *described(size, *measured, *before.get(name, ()))))
            print(*rows[-1], sep="  ", flush=True)
            before[name] = size, *measured
    rows.sort(key=lambda row: args.stages.index(row[0]))
    columns = ("step", "pictures", "seconds", "CPU seconds", "MiB", "bytes a picture", "of each more", "exponent")
    print("\n" + format_table(rows, columns))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where pictures and runs are kept, for when it is repeated")
    parser.add_argument("--sizes", type=session.positive, nargs="+", default=[1_000, 10_000, 100_000], metavar="N",
                        help="numbers of pictures (default: %(default)s)")  # fmt: skip
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="STEP",
                        help=f"some of: {', '.join(STAGES)}; each needs what those before it left")  # fmt: skip
    return parser.parse_args(argv)


def described(size, seconds, cpu_seconds, memory, size_before=None, _=None, cpu_before=None, memory_before=None):
    """Cells of the table; memory: bytes."""
    cells = (f"{seconds:.2f}", f"{cpu_seconds:.2f}", f"{memory / 2**20:.1f}", f"{memory / size:.0f}")
    if size_before is None:
        return *cells, "", ""
    more = (memory - memory_before) / (size - size_before)
    return *cells, f"{more:.0f}", f"{np.log(cpu_seconds / cpu_before) / np.log(size / size_before):.2f}"


# Pictures


def make_pictures(place, count):
    """A config, and `count` different pictures in class folders, unless they are there: each a part of a fabric, with noise."""
    root, unfinished = place / "pictures", place / "unfinished"
    make_folder(place)
    write_text(place / "config.py", CONFIG.format(work_dir=str(place.absolute()), root=str(root.absolute())))
    if root.is_dir():
        return
    fabrics = [draw_fabric(name, np.random.default_rng(0), size=2 * SIZE) for name in PATTERNS]
    for label in range(CLASSES):
        make_folder(unfinished / f"class_{label}")
    for i in range(count):
        rng = np.random.default_rng([0, i])
        y, x = rng.integers(SIZE, size=2)
        noise = rng.integers(NOISE, size=(SIZE, SIZE, 3), dtype=np.uint8)
        pixels = cv2.add(fabrics[i % len(fabrics)][y : y + SIZE, x : x + SIZE], noise)
        (unfinished / f"class_{i % CLASSES}" / f"{i:07}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    unfinished.rename(root)


# Processes


def measure(name, folder, size):
    """(seconds, CPU seconds, bytes of memory at its peak) of the step `name` for `size` pictures, in a process of its own."""
    processes = fresh_processes()
    ours, theirs = processes.Pipe()
    process = processes.Process(target=run_stage, args=(name, folder / str(WARM_UP), folder / str(size), theirs))
    process.start()
    theirs.close()
    try:
        before = peak = ours.recv()
        while not ours.poll(LOOK):
            peak = max(peak, anonymous_memory(process.pid))
        return *ours.recv(), peak - before
    except EOFError as error:
        raise UserError(f"{name}: did not come to its end, see above.") from error
    finally:
        process.join()


def run_stage(name, warm_up, place, parent):
    """Say what memory the process has before the step, then what time it took."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        STAGES[name](open_run(warm_up))()
        gc.collect()
        give_back_freed_memory()
        parent.send(anonymous_memory(os.getpid()))
        work = STAGES[name](open_run(place))
        start, cpu_start = time.perf_counter(), time.process_time()
        work()
        parent.send((time.perf_counter() - start, time.process_time() - cpu_start))


def anonymous_memory(process):
    """Bytes of a process's resident memory that are no pages of files; 0 once it has ended."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    return 0


def open_run(place):
    return session.start(str(place / "config.py"), [])


# Steps: run -> what is timed


def index(run):
    return lambda: list_root(run.config.data.root)


def first_start(run):
    run.folder.path.joinpath("index.csv").unlink(missing_ok=True)
    shutil.rmtree(run.folder.path / "cache", ignore_errors=True)
    return lambda: opened(run)


def second_start(run):
    return lambda: opened(run)


def hash_all(run):
    run = session.start(str(run.folder.path.parent / "config.py"), ["data.verify=True"])
    return lambda: opened(run)


def folds(run):
    dataset = opened(run)
    return lambda: write_folds(run.folder.folds, dataset.table, assign_folds(dataset.table, FOLDS, seed=0))


def sampler(run):
    dataset = opened(run)
    return lambda: BalanceClassSampler(dataset.labels).indices(0)


def oof_table(run):
    """The table of each fold, then all of them joined, as e4.py does."""
    dataset = opened(run)
    folds = assign_folds(dataset.table, FOLDS, seed=0)
    write_text(run.folder.config("teacher"), as_python(run.config))  # which the report looks at

    def work():
        for fold in range(FOLDS):
            rows = np.flatnonzero(folds == fold)
            probs = teacher_says(dataset.labels[rows], CLASSES)
            write_oof(run.folder.fold(fold).oof, dataset, folds, probs, rows=rows)
        merge_oof([run.folder.fold(fold).oof for fold in range(FOLDS)], run.folder.oof, dataset)

    return work


def epoch(run):
    shutil.rmtree(run.folder.student.path, ignore_errors=True)
    return lambda: m11.main([str(run.folder.path.parent / "config.py")])


def export(run):
    return lambda: export_openvino.main([str(run.folder.path), "--no-report"])


def report(run):
    run = session.reopen(run.folder.path)
    return lambda: write_report(run, run.folder.report)


def prediction(run):
    """Of all pictures, by the exported network."""
    answers = run.folder.path / "answers.csv"
    return lambda: predict.main([str(run.folder.path), run.config.data.root, "--output", str(answers)])


def opened(run):
    return open_data(run, preprocessing_of(run.config.student))[0]


STAGES = {
    "index": index,
    "first_start": first_start,
    "second_start": second_start,
    "hash": hash_all,
    "folds": folds,
    "sampler": sampler,
    "oof_table": oof_table,
    "epoch": epoch,
    "export": export,
    "report": report,
    "prediction": prediction,
}


if __name__ == "__main__":
    session.run_script(main)
