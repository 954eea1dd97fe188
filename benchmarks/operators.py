"""Where the time of a training step goes, operator by operator, beside what the machine can do at best, on the CPU.

    python benchmarks/operators.py
    python benchmarks/operators.py --sizes 64 --threads 1 --batch-size 32

FLOP/s are beside those of a large matrix product, bytes/s (all tensors that go in and come out, once each) beside those of a
large copy, both measured here on the same threads; more than 100 % of the latter come from the processor's caches. What is left
to the whole step, timed in turns with the measured one, is Python, autograd and what starts an operator.
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from common.memory import keep_freed_memory
from models import build_model
from utils.convolutions import fast_convolutions
from utils.losses import soft_cross_entropy
from utils.optimizers import build_optimizer
from utils.precision import Precision
from utils.runlog import format_table


def main(argv=None):
    args = parse(argv)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    best_flops, best_bytes = product_speed(), copy_speed()
    print(f"{args.model}, batch {args.batch_size}, {args.threads} threads, fp32, channels last; medians of {args.steps} steps each")
    print(f"at best {best_flops / 1e9:.0f} GFLOP/s (matrix product), {best_bytes / 1e9:.1f} GB/s (copy)")
    for size in args.sizes:
        step_ms, operators = measure(size, args)
        known = sum(ms for ms, *_ in operators.values())
        print(f"\n{size} px: {step_ms:.1f} ms a step, {known / step_ms:.0%} of it in operators")
        rows = []
        for name, (ms, calls, flops, moved) in sorted(operators.items(), key=lambda item: -item[1][0])[: args.rows]:
            reached = [f"{1e3 * done / ms / best:.0%}" if done else "" for done, best in ((flops, best_flops), (moved, best_bytes))]
            rows.append((name, f"{calls:.0f}", f"{ms:.2f}", f"{ms / step_ms:.1%}", *reached))
        print(format_table(rows, ("operator", "calls", "ms a step", "share", "of best FLOP/s", "of best bytes/s")))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenet_v3_small")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 112, 224])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rows", type=int, default=14, help="operators shown, the longest first (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args(argv)


def product_speed(size=2048):
    """FLOP/s of a product of two float32 matrices."""
    a = torch.randn(size, size)
    return 2 * size**3 / fastest(lambda: a @ a)


def copy_speed(numbers=2**25):
    """Bytes/s, read and written, of copying so many float32 numbers."""
    source = torch.randn(numbers)
    target = torch.empty_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source))


def fastest(run, times=7):
    """Seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(size, args):
    """(median milliseconds of a step, {operator: (milliseconds, calls, FLOP, bytes) of a step})."""
    model = build_model(args.model, 10, image_size=size).to(memory_format=torch.channels_last).train()
    optimizer = build_optimizer("radam", [(model, 1.0)], lr=1e-4)
    images = torch.randn(args.batch_size, 3, size, size).to(memory_format=torch.channels_last)
    targets = torch.eye(10)[torch.randint(10, (args.batch_size,))]
    precision, step_ms, watched = Precision("fp32", torch.device("cpu")), [], []

    def step():
        loss = soft_cross_entropy(model(images), targets)
        optimizer.zero_grad(set_to_none=True)
        precision.step(loss, optimizer)

    with fast_convolutions(model):
        for i in range(args.steps + 2):
            start = time.perf_counter()
            step()
            whole = 1e3 * (time.perf_counter() - start)
            with Watch() as watch:
                step()
            if i >= 2:  # the first ones warm up
                step_ms.append(whole)
                watched.append(watch)
    return np.median(step_ms), {
        name: (np.median([watch.milliseconds[name] for watch in watched]), watch.calls[name], watch.flops[name], watch.bytes[name])
        for name in watch.calls
    }


class Watch(TorchDispatchMode):
    """Within the block, what each operator takes and moves, by name."""

    def __init__(self):
        super().__init__()
        self.milliseconds, self.calls, self.flops, self.bytes = (defaultdict(float) for _ in range(4))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        milliseconds = 1e3 * (time.perf_counter() - start)
        name = name_of(func, args)
        self.milliseconds[name] += milliseconds
        self.calls[name] += 1
        self.bytes[name] += sum(x.nbytes for x in tree_leaves((args, result)) if isinstance(x, torch.Tensor))
        self.flops[name] += flops_of(func, args, result)
        return result


def name_of(func, args):
    """The operator's name; of convolutions also which of three kinds."""
    name = func.overloadpacket.__name__
    if not name.startswith("convolution"):
        return name
    weight = args[2 if name.endswith("backward") else 1]
    kind = "depthwise" if weight.shape[1] == 1 else "1x1" if weight.shape[2:] == (1, 1) else "dense"
    return f"{name}, {kind}"


def flops_of(func, args, result):
    """FLOP of convolutions and matrix products, two for each multiplication; 0 of others."""
    name = func.overloadpacket.__name__
    if name == "convolution":
        return 2 * result.numel() * args[1][0].numel()
    if name == "convolution_backward":
        return 2 * args[0].numel() * args[2][0].numel() * sum(args[-1][:2])
    if name in ("mm", "bmm", "addmm"):
        return 2 * result.numel() * args[name == "addmm"].shape[-1]
    return 0


if __name__ == "__main__":
    main()
