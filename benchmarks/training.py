"""Pictures per second of our training beside a plain PyTorch loop and timm's loader: same model, pictures, batch, size, threads.

    python benchmarks/training.py                                        drawn pictures of 400 x 400 pixels
    python benchmarks/training.py --picture-size 4000x3000 --batches 2   as a phone leaves them, three megabytes a file
    python benchmarks/training.py --data PICTURES                        a folder of class folders
    python benchmarks/training.py --rounds 5 --size 160

Measured are: all pictures decoded, without a model (ours are hashed, and written to the cache); a first run, from a folder with
nothing beside it to the end of an epoch; the start of a second run, to its first batch; later epochs. The loops take turns, so that
noise on the machine hits all alike, each in a process of its own, whose memory is as its users' is; the ratios of one run are what
counts. Ours is measured with a cache of pixels and of JPEGs, in processor time too, which a busy machine changes little.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice

import numpy as np
import timm.data
import torch
import torchvision
from torchvision.transforms import v2

from benchmarks.large_pictures import write_enlarged
from benchmarks.processes import fresh_processes
from common.memory import keep_freed_memory
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

NOISE = 22  # grey levels, of enlarged pictures
MEASURES = {
    "decode": "decoding alone, images/s",
    "run_first": "first run, images/s",
    "start_again": "start of a second run, s",
    "run_later": "later epochs, images/s",
}


def main(argv=None):
    args = parse(argv)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as processes:
        root = Path(args.data) if args.data else draw_pictures(Path(folder, "textiles"), args)
        formats = {"ours": "pixels", "ours, cache of JPEGs": "jpeg"}
        loops = {
            **{name: partial(OurLoop, root, Path(folder), args, cache_format) for name, cache_format in formats.items()},
            "torchvision ImageFolder + DataLoader": partial(PlainLoop, imagefolder_loader, root, args),
            "timm loader": partial(PlainLoop, timm_loader, root, args),
        }
        asked = {name: processes.enter_context(process_of(make)) for name, make in loops.items()}
        measured = {(title, name): [] for title in MEASURES.values() for name in loops}
        for i in range(args.rounds + 1):
            for method, title in MEASURES.items():
                for name, process in asked.items():
                    number = process.submit(answer, method, i).result()
                    if i:  # the first round warms up
                        measured[title, name].append(number)
        told = {name: asked[name].submit(answer, "tell").result() for name in formats}
    print(f"{args.model} at {args.size} px, batch {args.batch_size}, {args.threads} threads")
    print(f"the other loops decode in {args.workers} processes of their own")
    print(format_table(list(rows(measured)), ("measured", "loop", "median", "range", "ours is faster by")))
    for name, line in told.items():
        print(f"{name}: {line}")


def process_of(make):
    """An executor of one process, in which `answer` asks the loop that `make()` gives."""
    return ProcessPoolExecutor(1, fresh_processes(), initializer=begin, initargs=(make,))


def begin(make):
    """Put the loop that `make()` gives in its place; its own processes start as those of a script."""
    global the_loop
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    the_loop = make()


def answer(method, *arguments):
    """What the process's loop returns."""
    return getattr(the_loop, method)(*arguments)


def rows(measured):
    """Of the table, from {(title, loop): numbers}."""
    for (title, name), numbers in measured.items():
        ratio = np.median(measured[title, "ours"]) / np.median(numbers)
        faster = ratio if title.endswith("images/s") else 1 / ratio
        yield title, name, f"{np.median(numbers):.4g}", f"{min(numbers):.4g}-{max(numbers):.4g}", f"{faster:.2f}"


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of class folders; default: drawn pictures")
    parser.add_argument("--picture-size", metavar="WIDTHxHEIGHT", help="to which the drawn pictures are enlarged")
    parser.add_argument("--model", default="mobilenet_v3_small")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=8, help="of a later epoch, and of drawn pictures (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=2, help="loader processes of the other loops (default: %(default)s)")
    return parser.parse_args(argv)


def draw_pictures(folder, args):
    """The root of class folders in `folder`, with the pictures of an epoch."""
    write_textiles(folder, num_train=max(28, args.batches * args.batch_size), num_val=7, size=400)
    if args.picture_size:
        files = sorted(folder.glob("train/*/*.jpg"))
        write_enlarged(files, files, tuple(map(int, args.picture_size.split("x"))), NOISE)
    return folder / "train"


class Loop:
    """What `MEASURES` names are methods that take the number of the round and return a number."""

    def __init__(self, num_classes, args):
        torch.set_num_threads(args.threads)
        self.args = args
        self.model = build_model(args.model, num_classes, image_size=args.size)
        self.optimizer = build_optimizer("radam", [(self.model, 1.0)], lr=1e-3)


class OurLoop(Loop):
    def __init__(self, root, folder, args, cache_format):
        keep_freed_memory()  # as all scripts do
        self.root, self.folder, self.args, self.cache_format = root, folder, args, cache_format
        self.waits, self.milliseconds = [], []  # of each later epoch: share of its time; processor time for an image
        self.preprocessing = Preprocessing(args.size, resized(args), "stretch", (0.5,) * 3, (0.225,) * 3)
        self.dataset = self.open(folder)
        suffix = {"pixels": ".npy", "jpeg": ".jpegs"}[cache_format]
        files = Path(folder, "cache").rglob(f"*{suffix}")
        self.cache_size = sum(file.stat().st_size for file in files) / len(self.dataset)  # bytes an image
        super().__init__(len(self.dataset.classes), args)
        self.model = self.model.to(memory_format=torch.channels_last)
        some = np.random.default_rng(0).permutation(len(self.dataset))[: args.batches * args.batch_size]
        self.batches = self.batches_of(self.dataset, some)

    def open(self, folder):
        how = {"cache_format": self.cache_format, "threads": self.args.threads}
        return open_dataset(self.root, folder, self.preprocessing.resize, **how)

    def batches_of(self, dataset, rows):
        return TrainBatches(
            dataset.images, one_hot(dataset.labels, len(dataset.classes)), ShuffleSampler(len(rows)), rows=rows,
            batch_size=self.args.batch_size, view=TrainView(self.preprocessing, "student"),
        )  # fmt: skip

    def train(self, batches, epoch):
        precision, objective = Precision("fp32", torch.device("cpu")), plain(soft_cross_entropy)
        return train_one_epoch(self.model, batches, self.optimizer, constant(1e-3), precision, objective, epoch=epoch)

    def decode(self, _):
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            start = time.perf_counter()
            return len(self.open(folder)) / (time.perf_counter() - start)

    def run_first(self, _):
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            start = time.perf_counter()
            dataset = self.open(folder)
            self.train(self.batches_of(dataset, np.arange(len(dataset))), 0)
            return len(dataset) / (time.perf_counter() - start)

    def start_again(self, _):
        start = time.perf_counter()
        dataset = self.open(self.folder)
        next(self.batches_of(dataset, np.arange(len(dataset))).epoch(0))
        return time.perf_counter() - start

    def run_later(self, epoch):
        start = time.process_time()
        metrics = self.train(self.batches, epoch)
        self.milliseconds.append(1000 * (time.process_time() - start) / len(self.batches.rows))
        self.waits.append(metrics["wait_share"])
        return metrics["images_per_s"]

    def tell(self):
        return (
            f"waits for data {np.median(self.waits):.2%} of the time in later epochs, "
            f"{np.median(self.milliseconds):.2f} ms of processor time an image, cache {self.cache_size / 2**10:.1f} KiB an image"
        )


class PlainLoop(Loop):
    """The loop of PyTorch's tutorials over what `make_loader` makes; in later epochs the workers live on."""

    def __init__(self, make_loader, root, args):
        super().__init__(1000, args)
        self.make_loader = partial(make_loader, root, args)
        self.loader = self.make_loader()
        self.loss_fn = torch.nn.CrossEntropyLoss()

    def train(self, batches):
        """The number of images."""
        self.model.train()
        num_images = 0
        for images, labels in batches:
            loss = self.loss_fn(self.model(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            num_images += len(images)
        return num_images

    def decode(self, _):
        start = time.perf_counter()
        return sum(len(images) for images, _ in self.make_loader()) / (time.perf_counter() - start)

    def run_first(self, _):
        start = time.perf_counter()
        return self.train(self.make_loader()) / (time.perf_counter() - start)

    def start_again(self, _):
        start = time.perf_counter()
        batches = iter(self.make_loader())
        next(batches)
        return time.perf_counter() - start

    def run_later(self, _):
        start = time.perf_counter()
        return self.train(islice(self.loader, self.args.batches)) / (time.perf_counter() - start)


def resized(args):
    return round(args.size * 256 / 224)


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
