"""Batches: cached uint8 pixels -> augmented, normalised, channels-last floats with soft targets. No decoding, no worker processes.

Every batch draws from its own generator, seeded by (seed, epoch, batch number, process), so an epoch is the same whether or not
a run was interrupted before it, and however far ahead batches are prepared.
"""

import queue
import threading
import time

import numpy as np
import torch
import torch.nn.functional as F

from data.augment import PIPELINES, batched_pipeline
from data.crops import CROPS, center_crop
from data.mixing import no_mixing


class TrainBatches:
    """Iterate with `epoch(n)`: yields (images (B, 3, H, W) float32 channels_last, target_probs (B, K) float32) on `device`."""

    def __init__(
        self, images, targets, sampler, *, rows, batch_size, size, mean, std, augmentation, backend="auto", mixing=no_mixing,
        size_at=None, seed=0, rank=0, device="cpu",
    ):  # fmt: skip
        """size: of the part that is cut out. size_at: epoch -> size of the images that come of it; None: `size` throughout."""
        self.images, self.targets, self.sampler, self.rows = images, torch.from_numpy(targets), sampler, np.asarray(rows)
        self.batch_size, self.size, self.seed, self.rank = batch_size, size, seed, rank
        self.mixing, self.device, self.size_at = mixing, torch.device(device), size_at or (lambda epoch: size)
        self.normalise = Normalise(mean, std)
        self.pipeline = None
        if backend == "albumentations" or (backend == "auto" and augmentation not in PIPELINES):
            from data.albumentations_pipelines import AlbumentationsPipeline  # a second to import, and seldom needed

            self.pipeline = AlbumentationsPipeline(augmentation, size)
        else:
            self.crop, self.operations = batched_pipeline(augmentation)
        self.seconds_waited = 0.0

    def __len__(self):
        return len(_split(np.arange(len(self.sampler)), self.batch_size))

    def epoch(self, epoch):
        """All batches of epoch number `epoch`, prepared one ahead in a thread; `seconds_waited` counts the time without one."""
        order = self.rows[self.sampler.indices(epoch)]
        chunks = _split(order, self.batch_size)
        prepared = _ahead((self._batch(rows, epoch, i) for i, rows in enumerate(chunks)), depth=2)
        self.seconds_waited = 0.0
        while True:
            start = time.perf_counter()
            batch = next(prepared, None)
            self.seconds_waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def _batch(self, rows, epoch, number):
        rng = np.random.default_rng([self.seed, epoch, number, self.rank])
        size = self.size_at(epoch)
        if self.pipeline:
            pixels, operations = self.pipeline(self.images[rows], rng), ()
        else:
            # A zoom resizes anyway; the other crops keep their size, so that they show as much of a picture at any size.
            pixels = CROPS[self.crop](self.images, rows, size if self.crop == "zoom" else self.size, rng)
            operations = self.operations
        images = _to_device(pixels, self.device)
        for operation in operations:
            images = operation(images, rng)
        images = _resized(images, size)
        targets = self.targets[torch.from_numpy(rows)].to(self.device, non_blocking=True)
        return self.mixing(self.normalise(images), targets, rng)


class EvalBatches:
    """Iterate: normalised, centre-cropped images (B, 3, H, W) of `rows`, in that order, without targets."""

    def __init__(self, images, rows, *, batch_size, size, mean, std, device="cpu"):
        self.images, self.rows, self.batch_size, self.size = images, np.asarray(rows), batch_size, size
        self.normalise, self.device = Normalise(mean, std), torch.device(device)

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self):
        for start in range(0, len(self.rows), self.batch_size):
            rows = self.rows[start : start + self.batch_size]
            yield self.normalise(_to_device(center_crop(self.images, rows, self.size), self.device))


class Normalise:
    """uint8 or float 0..255 pixels -> (x / 255 - mean) / std, float32."""

    def __init__(self, mean, std):
        self.scale, self.offset = 1 / (255 * std), -mean / std

    def __call__(self, images):
        return images.float().mul_(self.scale).add_(self.offset)


def _to_device(pixels, device):
    """uint8 (B, H, W, 3) array -> uint8 (B, 3, H, W) tensor, channels last in memory."""
    tensor = torch.from_numpy(pixels)
    if device.type == "cuda":
        tensor = tensor.pin_memory().to(device, non_blocking=True)
    return tensor.permute(0, 3, 1, 2)


def _resized(images, size):
    """(B, 3, H, W) -> (B, 3, size, size), averaged over what shrinks; float32 where anything changes."""
    if images.shape[2] == size:
        return images
    return F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)


def _split(rows, batch_size):
    """Batches in order; a last one of a single image joins the one before it, since BatchNorm cannot train on one."""
    chunks = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    if len(chunks) > 1 and len(chunks[-1]) == 1:
        chunks[-2:] = [np.concatenate(chunks[-2:])]
    return chunks


def _ahead(iterator, depth):
    """The items of `iterator`, made in a thread up to `depth` ahead; its exceptions are raised here."""
    items, stop = queue.Queue(depth), threading.Event()
    end = object()

    def put(item):
        while not stop.is_set():
            try:
                items.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work():
        # Of this thread alone, as in PyTorch's own loader: a second team of threads would fight the training one for the cores.
        torch.set_num_threads(1)
        try:
            for item in iterator:
                if stop.is_set():
                    return
                put((item, None))
            put((end, None))
        except BaseException as error:  # handed over, not swallowed
            put((end, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = items.get()
            if error:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        thread.join()
