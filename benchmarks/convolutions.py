"""Training steps with PyTorch's convolutions and with those of utils/convolutions.py, in turns, on the CPU.

python benchmarks/convolutions.py
python benchmarks/convolutions.py --model efficientnet_b0 --sizes 64 128 --threads 1
"""

import argparse
import contextlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from common.memory import keep_freed_memory
from models import build_model
from utils.convolutions import fast_convolutions
from utils.losses import soft_cross_entropy
from utils.optimizers import build_optimizer
from utils.runlog import format_table


def main(argv=None):
    args = parse(argv)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    rows = [compare(size, args) for size in args.sizes]
    print(f"{args.model}, batch {args.batch_size}, {args.threads} threads, fp32, channels last; medians of {args.steps} steps each")
    print(format_table(rows, ("pixels", "PyTorch, ms a step", "with ours", "faster by")))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v3_small")
    parser.add_argument("--sizes", type=int, nargs="+", default=[48, 64, 80, 96, 112, 128, 224])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args(argv)


def compare(size, args):
    """(pixels, median milliseconds without, with, ratio) of whole training steps that take turns."""
    model = build_model(args.model, 10, image_size=size).to(memory_format=torch.channels_last).train()
    optimizer = build_optimizer("radam", [(model, 1.0)], lr=1e-4)
    images = torch.randn(args.batch_size, 3, size, size).to(memory_format=torch.channels_last)
    targets = torch.eye(10)[torch.randint(10, (args.batch_size,))]

    def step():
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        soft_cross_entropy(model(images), targets).backward()
        optimizer.step()
        return 1e3 * (time.perf_counter() - start)

    times = {contextlib.nullcontext: [], fast_convolutions: []}
    for i in range(args.steps + 1):
        for context, measured in times.items():
            with context(model):
                milliseconds = step()
            if i:  # the first turn warms up
                measured.append(milliseconds)
    without, fast = map(np.median, times.values())
    return str(size), f"{without:.0f}", f"{fast:.0f}", f"{without / fast:.2f}"


if __name__ == "__main__":
    main()
