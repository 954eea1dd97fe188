"""An array of what modules say of fixed views: made once, part after part, by all processes together, and opened again."""

import time
from contextlib import ExitStack

import numpy as np
import torch
from tqdm import tqdm

from common.arrays import ArrayInParts, open_array
from common.errors import UserError
from common.files import exclusive
from data.views import to_device
from deploy.engines import OpenVinoQueue
from recipe.pictures import Pictures, open_training, open_unlabelled
from utils import distributed
from utils.precision import Precision
from utils.runlog import log

PART = 256  # pictures whose views are kept together: what a killed run loses of one network's work at most
BATCH = 16  # views that a network looks at together
TOLERANCE = 1e-3  # of the largest output, between OpenVINO's answers and PyTorch's: what float16 keeps


def fill(path, columns, fixed, mark, questions, prepare):
    """The array float16 (N, V, columns) at `path`, made if need be, by all processes; mark: text that says what it is of.

    questions: [(module, numbers of the pictures that it is asked about)]. prepare() gives what answers them, on every process:
    `answer(module, rows)` is float (rows x V, columns). Other runs that want the same wait for it.
    """
    array = open_array(path, mark)
    if distributed.said_by_main(array is not None):
        return _reopened(path, mark) if array is None else array
    distributed.check_shared_folder(path.parent, key="data.cache or work_dir")
    with ExitStack() as lock:
        distributed.on_main(lambda: lock.enter_context(exclusive(path)))
        if not distributed.said_by_main(open_array(path, mark) is not None):
            _make(path, columns, fixed, mark, questions, prepare())
        array = _reopened(path, mark)
        distributed.barrier()  # nobody else may make it otherwise before all have it
    return array


def _reopened(path, mark):
    array = open_array(path, mark)
    if array is None:
        raise UserError(f"{path}: was there and is not any more, or not seen by this machine. Run the same command again.")
    return array


def _make(path, columns, fixed, mark, questions, answer):
    chunks = [(module, rows[i : i + PART]) for module, rows in questions for i in range(0, len(rows), PART)]
    shape = (len(fixed.paths), fixed.count, columns)
    store = ArrayInParts(path, np.float16, shape, [rows for _, rows in chunks], mark)
    missing = distributed.said_by_main(store.missing())
    start, views = time.perf_counter(), sum(len(chunks[number][1]) for number in missing) * fixed.count
    mine, on_bar = missing[distributed.rank() :: distributed.world_size()], None if distributed.is_main() else True
    with tqdm(total=views // distributed.world_size(), desc=path.name, leave=False, disable=on_bar) as bar:
        for number in mine:
            module, rows = chunks[number]
            store.write(number, answer(module, rows).reshape(len(rows), *shape[1:]))
            bar.update(len(rows) * fixed.count)
    distributed.barrier()
    distributed.on_main(store.join)
    if distributed.is_main():
        log.info(f"{path}: {len(fixed)} views, {views} of them looked at now, in {time.perf_counter() - start:.0f} s")


class OfPixels:
    """Answers of networks that look at the views: on a CPU through OpenVINO, if that answers as PyTorch does; else by that."""

    def __init__(self, run, fixed, preprocessing):
        self.fixed, self.preprocessing, self.device = fixed, preprocessing, run.device
        parts = (open_training(run, preprocessing), open_unlabelled(run, preprocessing))
        self.squares = Pictures(tuple(part for part in parts if part is not None))
        self.network = self.queue = None

    def __call__(self, network, rows):
        if network is not self.network:
            self._take(network)
        indices = (rows[:, None] * self.fixed.count + np.arange(self.fixed.count)).ravel()
        batches = (indices[i : i + BATCH] for i in range(0, len(indices), BATCH))
        cuts = (self.fixed.cut(self.squares, batch, self.preprocessing.image_size) for batch in batches)
        if self.queue:
            return np.concatenate(self.queue(map(self.preprocessing.network_input, cuts)))
        return np.concatenate([self._by_torch(cut) for cut in cuts])

    def _take(self, network):
        self.network, self.queue = network.to(self.device).eval(), None
        if self.device.type == "cpu":
            sample = self.fixed.cut(self.squares, np.arange(BATCH) % len(self.fixed), self.preprocessing.image_size)
            inputs = self.preprocessing.network_input(sample)
            queue = OpenVinoQueue(self.network, inputs, torch.get_num_threads())
            (answers,), expected = queue([inputs]), self._by_torch(sample)
            difference = np.abs(answers - expected).max() / max(1.0, np.abs(expected).max())
            if difference <= TOLERANCE:
                self.queue = queue
            else:
                log.warning(f"OpenVINO answers otherwise than PyTorch (by {difference:.1e}), so PyTorch looks at the views, slower")

    def _by_torch(self, pixels):
        with torch.inference_mode(), Precision("auto", self.device).autocast():
            return self.network(self.preprocessing.normalise(to_device(pixels, self.device))).float().cpu().numpy()
