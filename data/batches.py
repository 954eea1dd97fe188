"""Batches: cached uint8 pixels -> augmented, normalised, channels-last floats with soft targets. No decoding, no worker processes.

Every batch draws from its own generator, seeded by (seed, epoch, batch number, process), so an epoch is the same whether or not
a run was interrupted before it, and however far ahead batches are prepared.
"""

import queue
import threading
import time

import numpy as np
import torch

from data.crops import center_crop
from data.mixing import no_mixing
from data.views import to_device


class TrainBatches:
    """Iterate with `epoch(n)`: yields (images (B, 3, H, W) float32 channels_last, target_probs (B, K) float32) on `device`."""

    def __init__(
        self, images, targets, sampler, *, rows, batch_size, view, mixing=no_mixing, seed=0, rank=0, device="cpu"
    ):  # fmt: skip
        """images: uint8 (N, R, R, 3). rows: numbers of the images that `sampler` draws from. view: a `data.views.TrainView`.

        targets: float32 (N, K), or what is indexed alike; where the view chooses one of several fixed ones, (N views, K).
        """
        self.images, self.targets, self.sampler, self.rows = images, targets, sampler, np.asarray(rows)
        self.batch_size, self.view, self.mixing = batch_size, view, mixing
        self.seed, self.rank, self.device = seed, rank, torch.device(device)
        self.seconds_waited = 0.0

    def __len__(self):
        return len(in_chunks(np.arange(len(self.sampler)), self.batch_size))

    def epoch(self, epoch):
        """All batches of epoch number `epoch`, prepared one ahead in a thread; `seconds_waited` counts the time without one."""
        order = self.rows[self.sampler.indices(epoch)]
        chunks = in_chunks(order, self.batch_size)
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
        chosen = self.view.choose(rows, rng)
        images = self.view(self.images, chosen, epoch, rng, self.device)
        targets = torch.from_numpy(self.targets[chosen]).to(self.device, non_blocking=True)
        return self.mixing(images, targets, rng)


class EvalBatches:
    """Iterate: normalised, centre-cropped images (B, 3, H, W) of `rows`, in that order, without targets."""

    def __init__(self, images, rows, *, batch_size, preprocessing, device="cpu"):
        self.images, self.rows, self.batch_size = images, np.asarray(rows), batch_size
        self.preprocessing, self.device = preprocessing, torch.device(device)

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self):
        for start in range(0, len(self.rows), self.batch_size):
            rows = self.rows[start : start + self.batch_size]
            pixels = center_crop(self.images, rows, self.preprocessing.image_size)
            yield self.preprocessing.normalise(to_device(pixels, self.device))


def in_chunks(rows, batch_size):
    """As few batches of at most `batch_size` as it takes, in order, none more than one image larger than another.

    A short last batch would be the epoch's last word on BatchNorm's statistics: one of two images cost ten points of accuracy. On a
    single image BatchNorm cannot train at all, so batches of two may take a third.
    """
    return np.array_split(rows, max(1, min(-(-len(rows) // batch_size), len(rows) // 2)))


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
