"""Speed of one network in PyTorch (eager and fused), ONNX Runtime and OpenVINO, on the CPU, measured in turns.

python benchmarks/inference.py runs/demo
python benchmarks/inference.py --model mobilenet_v3_small --image-size 224      random weights, no run needed
"""

import argparse
import copy
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from common.errors import UserError
from deploy.benchmark import compare, onnx_engine, openvino_engine, torch_engine
from deploy.fuse import fuse
from deploy.onnx_file import export_onnx
from deploy.openvino_ir import write_ir
from models import build_model
from utils.checkpoints import load_checkpoint
from utils.runlog import format_table


def main(argv=None):
    args = parse(argv)
    model, size = load(args)
    fused, images = fuse(model), np.random.default_rng(0).standard_normal((args.images, 3, size, size), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        onnx_path, xml_path = Path(folder, "model.onnx"), Path(folder, "model.xml")
        export_onnx(fused, torch.from_numpy(images[:2]), onnx_path)
        write_ir(onnx_path, xml_path, {})
        # Copies, because the engines' runners change the memory format in place.
        engines = [
            torch_engine("PyTorch eager", copy.deepcopy(model), images),
            torch_engine("PyTorch fused", copy.deepcopy(fused), images),
            onnx_engine("ONNX Runtime", onnx_path, images),
            openvino_engine("OpenVINO", xml_path, images),
        ]
        rows = compare(engines, repeats=args.repeats)
    _, eager_ms, _, _, eager_rate = rows[0]
    table = [
        (name, f"{ms:.2f}", f"{p99:.2f}", f"{fps:.0f}", f"{eager_ms / ms:.2f}x", f"{rate:.0f}", f"{rate / eager_rate:.2f}x")
        for name, ms, p99, fps, rate in rows
    ]
    print(
        f"{size}x{size}, one image {args.repeats} times, {args.images} images at a time, {torch.get_num_threads()} threads (torch)"
    )
    header = ("engine (CPU)", "ms an image", "p99 ms", "FPS", "to eager", f"FPS, {args.images} at a time", "to eager")
    print(format_table(table, header))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", nargs="?", type=Path, help="the run's folder, such as runs/demo: its averaged or best student")
    parser.add_argument("--model", default="mobilenet_v3_small", help="without a run: the backbone (default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=224, help="without a run: pixels a side (default: %(default)s)")
    parser.add_argument("--images", type=int, default=64, help="images at a time for the throughput (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=100, help="single images timed (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.images < 2 or args.repeats < 1:
        parser.error("--images must be at least 2 and --repeats at least 1")
    return args


def load(args):
    """(model in eval mode, image size) of the run's student, or with random weights."""
    if args.run_dir is None:
        torch.manual_seed(0)
        return build_model(args.model, 7, head="mlp1280", image_size=args.image_size).eval(), args.image_size
    averaged = args.run_dir / "student" / "averaged.pth"
    checkpoint = load_checkpoint(averaged if averaged.exists() else averaged.with_name("best.pth"))
    model = build_model(**checkpoint["meta"]["model"])
    model.load_state_dict(checkpoint["model"])
    return model.eval(), checkpoint["meta"]["preprocessing"]["image_size"]


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
