"""From a file to a class: what is handed in against what else a user would run the same student with, in one run.

    make cpp && python export_openvino.py runs/mine && python benchmarks/pipelines.py runs/mine

Two kinds of pictures: the run's validation files, and twelve of them as a phone would leave them, JPEGs of 3000 x 4000 pixels with
some noise. One picture at a time, FP32, all Python ways taking turns; the C++ program measures itself before and after them.
The second table holds the C++ program against its parts: the latency against their sum, the rate against what is left when each of
them takes its time on all cores, 1 / (1 / decode + 1 / pre-process + 1 / infer).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import onnxruntime
import timm.data
import torch
from model_api.models import ClassificationModel
from PIL import Image
from torchvision import transforms

from benchmarks.cpp_program import add_classify, asking, check_built
from benchmarks.large_pictures import write_enlarged
from common.errors import UserError
from deploy.fuse import fuse
from deploy.inputs import NetworkInput
from deploy.onnx_file import INPUT
from recipe.exporting import export_ir
from recipe.pictures import held_out_files
from recipe.predictor import CheckpointPredictor, IrPredictor, check_exported
from utils import session
from utils.runlog import format_table

PHONE = (3000, 4000)  # pixels, width and height
NOISE = 9  # grey levels: the files have some two megabytes
OURS = "classify (C++)"
TURN = 10  # pictures


def main(argv=None):
    args = parse(argv)
    check_built(args.classify)
    run = session.reopen(args.run_dir)
    check_exported(run.folder, run.folder.exported.network)
    files, _ = held_out_files(run)
    with tempfile.TemporaryDirectory() as folder:
        ways = python_ways(run, Path(folder))
        kinds = {"validation files": files, f"{PHONE[0]} x {PHONE[1]}": phone_pictures(files, args.phones, Path(folder))}
        rows, parts = [], []
        for kind, pictures in kinds.items():
            cpp = [of_classify(args, run.folder.exported.network, pictures)]
            milliseconds = in_turns(ways, pictures, args.seconds)
            cpp.append(of_classify(args, run.folder.exported.network, pictures))
            best = min(cpp, key=lambda measured: measured["latency_ms"]["p50"])
            parts.append((kind, *against_parts(cpp)))
            ours = best["latency_ms"]["p50"]
            for name, ms in {OURS: ours, **milliseconds}.items():
                rows.append((kind, name, f"{ms:.2f}", f"{1e3 / ms:.0f}", f"{ms / ours:.1f}"))
    print(format_table(rows, ("pictures", "way", "p50 ms", "FPS", f"times that of {OURS}")))
    print()
    print(format_table(parts, ("pictures", "decode ms", "pre-process ms", "infer ms", "p50 / sum", "many/s", "many / bound")))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="the run's folder, exported")
    add_classify(parser)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default: %(default)s)")
    parser.add_argument("--phones", type=int, default=12, help="how many pictures are made large (default: %(default)s)")
    return parser.parse_args(argv)


def phone_pictures(files, number, folder):
    """Paths of large JPEGs, evenly taken from `files`."""
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, number).round().astype(int)]
    made = [folder / f"{i}.jpg" for i in range(number)]
    write_enlarged(chosen, made, PHONE, NOISE)
    return made


def python_ways(run, folder):
    """{name: path of a picture -> number of its class}"""
    checkpoint, ours = CheckpointPredictor(run.folder.shipped()), IrPredictor(run.folder.exported.network)
    seen, model = checkpoint.preprocessing, fuse(checkpoint.model)
    whole = NetworkInput(seen, pixels=True, color="bgr", whole_pictures=True)
    api = ClassificationModel.create_model(str(export_ir(checkpoint.model, checkpoint.classes, whole, folder / "whole")))
    onnx = onnxruntime.InferenceSession(run.folder.exported.onnx.read_bytes(), providers=["CPUExecutionProvider"])
    mean, std = np.float32(seen.mean), np.float32(seen.std)
    edge = (seen.resize - seen.image_size) // 2
    by_timm = timm.data.create_transform(
        (3, seen.image_size, seen.image_size), mean=seen.mean, std=seen.std, crop_pct=seen.image_size / seen.resize
    )
    by_torchvision = transforms.Compose(
        [
            transforms.Resize((seen.resize, seen.resize), antialias=True),
            transforms.CenterCrop(seen.image_size),
            transforms.ToTensor(),
            transforms.Normalize(seen.mean, seen.std),
        ]
    )

    def with_opencv(path):
        pixels = cv2.resize(cv2.imread(str(path)), (seen.resize, seen.resize), interpolation=cv2.INTER_AREA)
        pixels = pixels[edge : edge + seen.image_size, edge : edge + seen.image_size, ::-1]
        batch = ((pixels / np.float32(255) - mean) / std).transpose(2, 0, 1)[None]
        return onnx.run(None, {INPUT: np.ascontiguousarray(batch)})[0].argmax()

    def with_torch(transform):
        def run_one(path):
            with torch.inference_mode(), Image.open(path) as image:
                return model(transform(image.convert("RGB"))[None]).argmax()

        return run_one

    return {
        "predict.py": lambda path: ours(ours.read(path)).argmax(),
        "OpenVINO Model API, OpenCV": lambda path: api(cv2.imread(str(path))).top_labels[0].id,
        "ONNX Runtime, OpenCV": with_opencv,
        "PyTorch, timm's transform": with_torch(by_timm),
        "PyTorch, torchvision's transforms": with_torch(by_torchvision),
    }


def in_turns(ways, files, seconds):
    """{name: median milliseconds}; the ways take turns of TURN pictures.

    Two pictures go before each turn uncounted: the threads of the way before spin on for some milliseconds.
    """
    times, end, first = {name: [] for name in ways}, time.perf_counter() + seconds * len(ways), 0
    while first == 0 or time.perf_counter() < end:
        turn = [files[(first + i) % len(files)] for i in range(TURN)]
        for name, way in ways.items():
            for i, path in enumerate(turn[:1] * 2 + turn):
                start = time.perf_counter()
                way(path)
                if i >= 2:
                    times[name].append(1e3 * (time.perf_counter() - start))
        first += TURN
    return {name: float(np.median(ms)) for name, ms in times.items()}


def of_classify(args, xml_path, files):
    """What the C++ program measures of itself."""
    with asking(args.classify, xml_path, files) as command:
        done = subprocess.run([*command, "--benchmark", "--seconds", str(args.seconds)], capture_output=True, encoding="utf-8")
    if done.returncode:
        raise UserError(f"{args.classify} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def against_parts(measured):
    """The columns of the second table, from the runs of the C++ program before and after the others: the better ratios."""
    latencies, rates = [item["latency_ms"] for item in measured], [item["pictures_per_second"] for item in measured]
    best = min(latencies, key=lambda latency: latency["p50"])
    parts = [best[part] for part in ("decode", "preprocess", "infer")]
    bounds = [1 / sum(1 / rate[part] for part in ("decode_only", "preprocess_only", "infer_only")) for rate in rates]
    shares = [rate["end_to_end"] / bound for rate, bound in zip(rates, bounds, strict=True)]
    many = max(rate["end_to_end"] for rate in rates)
    return (*(f"{part:.2f}" for part in parts), f"{best['p50'] / sum(parts):.2f}", f"{many:.0f}", f"{max(shares):.2f}")


if __name__ == "__main__":
    session.run_script(main)
