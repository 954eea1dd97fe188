"""Images per second of our training loop beside a plain PyTorch loop and timm's loader: same model, pictures, batch, size, threads.

    python benchmarks/training.py                        drawn pictures of 400 x 400 pixels
    python benchmarks/training.py --data PICTURES        a folder of class folders
    python benchmarks/training.py --rounds 5 --size 160

The loops take turns, so that noise on the machine hits all alike; the ratios of one run are what counts.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import time

import numpy as np
import timm.data
import torch
import torchvision
from torchvision.transforms import v2

from data.batches import TrainBatches
from data.dataset import open_dataset
from data.preprocessing import Preprocessing
from data.samplers import ShuffleSampler
from data.targets import one_hot
from data.textiles import write_textiles
from data.views import TrainView
from models import build_model
from utils.engine import train_one_epoch
from utils.losses import soft_cross_entropy
from utils.objective import plain
from utils.optimizers import build_optimizer
from utils.precision import Precision
from utils.runlog import format_table
from utils.schedules import constant


def main(argv=None):
    args = parse(argv)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(args.data) if args.data else Path(folder, "textiles", "train")
        if not args.data:
            write_textiles(root.parent, num_train=max(70, args.batches * args.batch_size), num_val=7, size=400)
        loops = {
            "ours": our_loop(root, Path(folder), args),
            "torchvision ImageFolder + DataLoader": plain_loop(imagefolder_loader(root, args), args),
            "timm loader": plain_loop(timm_loader(root, args), args),
        }
        rates = {name: [] for name in loops}
        waits = []
        for i in range(args.rounds + 1):
            for name, run in loops.items():
                rate, wait = run(i)
                if i:  # the first round warms up
                    rates[name].append(rate)
                    waits += [wait] * (name == "ours")
    ours = np.median(rates["ours"])
    rows = [(name, f"{np.median(r):.1f}", f"{min(r):.1f}-{max(r):.1f}", f"{ours / np.median(r):.2f}") for name, r in rates.items()]
    print(f"{args.model} at {args.size} px, batch {args.batch_size}, {args.threads} threads")
    print(f"the other loops decode in {args.workers} processes of their own")
    print(format_table(rows, ("loop", "images/s, median", "range", "ours is faster by")))
    print(f"our loop waits for data {np.median(waits):.2%} of the time")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of class folders; default: drawn pictures")
    parser.add_argument("--model", default="mobilenet_v3_small")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=8, help="batches of each loop in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=2, help="loader processes of the other loops (default: %(default)s)")
    return parser.parse_args(argv)


def resized(args):
    return round(args.size * 256 / 224)


def model_and_optimizer(num_classes, args):
    model = build_model(args.model, num_classes, image_size=args.size)
    return model, build_optimizer("radam", [(model, 1.0)], lr=1e-3)


def our_loop(root, folder, args):
    """round number -> (images/s, share of the time spent waiting for data)."""
    preprocessing = Preprocessing(args.size, resized(args), "stretch", (0.5,) * 3, (0.225,) * 3)
    dataset = open_dataset(root, folder, preprocessing.resize)
    rows = np.random.default_rng(0).permutation(len(dataset))[: args.batches * args.batch_size]
    batches = TrainBatches(
        dataset.images, one_hot(dataset.labels, len(dataset.classes)), ShuffleSampler(len(rows)), rows=rows,
        batch_size=args.batch_size, view=TrainView(preprocessing, "student"),
    )  # fmt: skip
    model, optimizer = model_and_optimizer(len(dataset.classes), args)
    model = model.to(memory_format=torch.channels_last)
    precision, objective = Precision("fp32", torch.device("cpu")), plain(soft_cross_entropy)

    def run(epoch):
        metrics = train_one_epoch(model, batches, optimizer, constant(1e-3), precision, objective, epoch=epoch)
        return metrics["images_per_s"], metrics["wait_share"]

    return run


def plain_loop(loader, args):
    """The loop of PyTorch's tutorials over `loader`; the workers live on between rounds."""
    model, optimizer = model_and_optimizer(1000, args)
    loss_fn = torch.nn.CrossEntropyLoss()

    def run(epoch):
        model.train()
        start, num_images = time.perf_counter(), 0
        for i, (images, labels) in enumerate(loader):
            loss = loss_fn(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            num_images += len(images)
            if i + 1 == args.batches:
                break
        return num_images / (time.perf_counter() - start), None

    return run


def imagefolder_loader(root, args):
    steps = [v2.Resize((resized(args),) * 2), v2.RandomCrop(args.size), v2.RandomHorizontalFlip(), v2.ToImage()]
    transform = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.225] * 3)])
    dataset = torchvision.datasets.ImageFolder(root, transform)
    return torch.utils.data.DataLoader(
        dataset, args.batch_size, shuffle=True, drop_last=True, num_workers=args.workers, persistent_workers=args.workers > 0
    )


def timm_loader(root, args):
    return timm.data.create_loader(
        timm.data.create_dataset("", root), (3, args.size, args.size), args.batch_size, is_training=True, use_prefetcher=False,
        num_workers=args.workers, mean=(0.5,) * 3, std=(0.225,) * 3, color_jitter=0.0, persistent_workers=args.workers > 0,
    )  # fmt: skip


if __name__ == "__main__":
    main()
