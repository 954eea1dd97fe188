"""What each way of running a finished student costs and gives, on the same pictures in one run, and the contest's score.

    make cpp && python export_openvino.py runs/demo --int8 && python benchmarks/deploy.py runs/demo
    python benchmarks/deploy.py runs/demo --sizes 32 96 160 224        the same weights at other input sizes, OpenVINO only
    python benchmarks/deploy.py runs/demo --inputs                     who resizes and normalises: the C++ program or the network

Accuracy, FPS and milliseconds are taken from the validation pictures' files: decode, resize, infer, one picture at a time, all ways
taking turns. The score is 0.7 * accuracy + 0.3 * min(1, FPS / target); target: 162.5, what the contest's entry reached.
Leaves benchmark.csv and benchmark.png (or sizes.*, inputs.*) in RUN/deploy or in --output.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.cpp_program import add_classify, asking, check_built
from benchmarks.processes import fresh_processes
from common.errors import UserError
from common.files import atomic_path, make_folder, write_csv
from data.decode import read_rgb
from deploy.fuse import fuse
from deploy.inputs import NetworkInput
from deploy.timing import Engine, onnx_engine, openvino_engine, throughput, torch_engine
from models import build_model
from recipe.exporting import export_ir
from recipe.pictures import held_out_files
from recipe.predictor import CheckpointPredictor, IrPredictor, check_exported
from utils import session
from utils.metrics import contest_score

TURN = 20  # pictures
# Runs a command and notes its peak of memory. The kernel counts in what a process held before it became the command, so that this
# must be a small one.
WATCH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def main(argv=None):
    args = parse(argv)
    if not args.sizes:
        check_built(args.classify)
    run = session.reopen(args.run_dir)
    files, labels = held_out_files(run)
    if args.sizes:
        table, name = at_sizes(run, args.sizes, files, labels), "sizes"
    elif args.inputs:
        table, name = at_inputs(run, files, labels, partial(run_classify, args.classify, args.seconds)), "inputs"
    else:
        table, name = all_ways(run, files, labels, partial(run_classify, args.classify, args.seconds)), "benchmark"
    table["score"] = contest_score(table["accuracy"], table["fps"], args.weight, args.target)
    output = args.output or run.folder.deploy
    make_folder(output)
    write_csv(output / f"{name}.csv", table)
    draw(output / f"{name}.png", table, args.target)
    print(f"{len(files)} pictures, {torch.get_num_threads()} threads; one at a time, from file to class, unless it says otherwise")
    print(table.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4g}"))
    print(f"-> {output / name}.csv, .png")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="the run's folder, exported with --int8")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="PIXELS", help="input sizes to compare instead")
    parser.add_argument("--inputs", action="store_true", help="compare the kinds of input instead, in the C++ program")
    parser.add_argument("--weight", type=float, default=0.7, help="of accuracy in the score (default: %(default)s)")
    parser.add_argument("--target", type=float, default=162.5, metavar="FPS", help="full marks for speed (default: %(default)s)")
    add_classify(parser)
    parser.add_argument("--seconds", type=float, default=5, help="of each of the C++ program's measurements (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: RUN/deploy")
    return parser.parse_args(argv)


def all_ways(run, files, labels, measure_cpp):
    """One row for each engine, and for the C++ program with FP32 and INT8."""
    irs = {"OpenVINO FP32": run.folder.exported.network, "OpenVINO INT8": run.folder.exported.network_int8}
    for path in irs.values():
        check_exported(run.folder, path)
    makers = {
        "PyTorch eager": partial(torch_way, run.folder, fused=False),
        "PyTorch fused": partial(torch_way, run.folder, fused=True),
        "ONNX Runtime FP32": partial(onnx_way, run.folder),
        **{name: partial(ir_way, path) for name, path in irs.items()},
    }
    ways = {name: make() for name, make in makers.items()}
    rows = measure(ways, files, labels)
    with fresh_processes().Pool(1, maxtasksperchild=1) as pool:
        for name, make in makers.items():
            rows[name]["memory_mib"] = pool.apply(memory_of, (make, files[0]))
    for name, path in irs.items():
        rows[name.replace("OpenVINO", "C++")] = measure_cpp(path, files, labels)
    return pd.DataFrame([{"engine": name, **row} for name, row in rows.items()])


def at_sizes(run, sizes, files, labels):
    """One row for each input size: the run's weights, exported anew."""
    predictor = CheckpointPredictor(run.folder.shipped())
    trained = predictor.preprocessing
    arguments = predictor.meta["model"]
    with tempfile.TemporaryDirectory() as folder:
        ways = {}
        for size in sizes:
            preprocessing = replace(trained, image_size=size, resize=round(size * trained.resize / trained.image_size))
            model = build_model(**{**arguments, "image_size": size}).eval()
            model.load_state_dict(predictor.model.state_dict())
            ways[size] = ir_way(export_ir(model, predictor.classes, NetworkInput(preprocessing), Path(folder, str(size))))
        rows = measure(ways, files, labels)
    return pd.DataFrame([{"size": size, **row} for size, row in rows.items()])


def at_inputs(run, files, labels, measure_cpp):
    """One row for each kind of input: normalised floats, raw pixels of the network's size, whole pictures."""
    predictor = CheckpointPredictor(run.folder.shipped())
    kinds = {
        "floats": NetworkInput(predictor.preprocessing),
        "uint8": NetworkInput(predictor.preprocessing, pixels=True, color="bgr"),
        "uint8, resize": NetworkInput(predictor.preprocessing, pixels=True, color="bgr", whole_pictures=True),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, taken in kinds.items():
            xml_path = export_ir(predictor.model, predictor.classes, taken, Path(folder, str(len(rows))))
            rows.append({"input": name, **measure_cpp(xml_path, files, labels)})
    return pd.DataFrame(rows)


@dataclass
class Way:
    """Pixels in, class out."""

    classes: list[str]
    read: Callable  # the path of a file -> uint8 RGB (H, W, 3)
    prepare: Callable  # uint8 RGB (H, W, 3) -> the network's input, a batch of one
    engine: Engine  # runs such inputs; its batch is 64 of them


def torch_way(folder, *, fused):
    predictor = CheckpointPredictor(folder.shipped())
    model = fuse(predictor.model) if fused else predictor.model
    prepare = lambda pixels: predictor.network_tensor(pixels).numpy()  # noqa: E731
    return Way(predictor.classes, predictor.read, prepare, torch_engine("", model, batch_of(prepare)))


def onnx_way(folder):
    predictor = IrPredictor(folder.exported.network)
    if predictor.input.whole_pictures or predictor.input.fixed_batch:
        raise UserError(f"{folder.path}: to compare the engines, export without --resize and --batch 1.")
    prepare = predictor.input.picture_input
    batch = batch_of(prepare)
    return Way(predictor.classes, predictor.read, prepare, onnx_engine("", folder.exported.onnx, batch))


def ir_way(xml_path):
    predictor = IrPredictor(xml_path)
    prepare = predictor.input.picture_input
    batch = batch_of(prepare)
    return Way(predictor.classes, predictor.read, prepare, openvino_engine("", xml_path, batch))


def batch_of(prepare, size=64):
    return np.concatenate([prepare(np.zeros((256, 256, 3), np.uint8))] * size)


def measure(ways, files, labels):
    """{name: row of the table}; the ways take turns of TURN pictures.

    Two pictures go before each turn uncounted: the threads of the engine before spin on for some milliseconds.
    """
    right, infer_ms, total_ms = ({name: [] for name in ways} for _ in range(3))
    pictures = list(zip(files, labels, strict=True))
    for first in range(0, len(pictures), TURN):
        turn = pictures[first : first + TURN]
        for name, way in ways.items():
            for i, (path, label) in enumerate(turn[:1] * 2 + turn):
                start = time.perf_counter()
                inputs = way.prepare(way.read(path))
                prepared = time.perf_counter()
                logits = way.engine.run(inputs)
                end = time.perf_counter()
                if i >= 2:
                    right[name].append(way.classes[int(np.argmax(logits))] == label)
                    infer_ms[name].append(1e3 * (end - prepared))
                    total_ms[name].append(1e3 * (end - start))
    rates = throughput([replace(way.engine, name=name) for name, way in ways.items()])
    return {
        name: {
            "accuracy": np.mean(right[name]),
            "fps": 1e3 / np.mean(total_ms[name]),
            "p50_ms": np.median(total_ms[name]),
            "p99_ms": np.percentile(total_ms[name], 99),
            "infer_p50_ms": np.median(infer_ms[name]),
            "infer_p99_ms": np.percentile(infer_ms[name], 99),
            "infer_many_fps": rates[name],
        }
        for name in ways
    }


def memory_of(make_way, path):
    """MiB by which a process grows when it loads a way and runs it on one picture; call in a process of its own."""
    read_rgb(path)
    before = _resident_mib()
    way = make_way()
    for _ in range(10):
        way.engine.run(way.prepare(way.read(path)))
    return _resident_mib() - before


def _resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def run_classify(program, seconds, xml_path, files, labels):
    """The C++ program's row: accuracy from its answers, the rest from its own benchmark. Its memory is the whole process's."""
    with asking(program, xml_path, files) as command:
        answers, memory = _output([*command, "--reject", "0"])  # the others always answer
        measured, _ = _output([*command, "--benchmark", "--seconds", str(seconds)])
    answers, measured = json.loads(answers), json.loads(measured)
    latency, rates = measured["latency_ms"], measured["pictures_per_second"]
    return {
        "accuracy": np.mean([answer.get("class") == label for answer, label in zip(answers, labels, strict=True)]),
        "fps": 1e3 / (latency["decode"] + latency["preprocess"] + latency["infer"]),
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "infer_p50_ms": latency["infer_p50"],
        "infer_p99_ms": latency["infer_p99"],
        "infer_many_fps": rates["infer_only"],
        "decode_many_fps": rates["decode_only"],
        "many_fps": rates["end_to_end"],
        "memory_mib": memory,
    }


def _output(command):
    """(what the command printed, the most memory it held in MiB)."""
    with tempfile.TemporaryDirectory() as folder:
        memory = Path(folder, "memory")
        done = subprocess.run([sys.executable, "-ISc", WATCH, memory, *command], capture_output=True, encoding="utf-8")
        if done.returncode:
            raise UserError(f"{command[0]} failed: {done.stderr.strip()}")
        return done.stdout, int(memory.read_text()) / 1024


def draw(path, table, target):
    """Accuracy against frames per second, a point each."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for _, row in table.iterrows():
        axes.scatter(row["fps"], row["accuracy"])
        axes.annotate(str(row.iloc[0]), (row["fps"], row["accuracy"]), xytext=(5, 5), textcoords="offset points")
    axes.axvline(target, linestyle=":", color="grey")
    axes.set(xscale="log", xlabel="frames per second, one at a time, from file to class", ylabel="accuracy on validation pictures")
    axes.margins(0.15)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


if __name__ == "__main__":
    session.run_script(main)
