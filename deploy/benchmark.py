"""Latency and throughput of the same network in several engines, measured in turns so that noise hits all alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openvino as ov
import torch

from deploy.openvino_ir import compile_ir
from deploy.parity import onnx_session


@dataclass(frozen=True)
class Engine:
    """One way to run a network."""

    name: str
    run: Callable  # on one image, (1, ...), tuned for latency
    stream: Callable  # on all of `batch`, tuned for throughput
    batch: np.ndarray  # (N, ...), as this engine takes it


def compare(engines, *, repeats=100):
    """Rows (engine, median ms, p99 ms, images/s one at a time, images/s throughput)."""
    times, rates = latency(engines, repeats=repeats), throughput(engines)
    return [(engine.name, *times[engine.name], 1e3 / times[engine.name][0], rates[engine.name]) for engine in engines]


def latency(engines, *, repeats=100, turn=20):
    """{name: (median ms, 99th percentile ms)} of one image at a time; the engines take turns of `turn` images.

    Three images go before each turn uncounted: the threads of the engine before spin on for some milliseconds.
    """
    times = {engine.name: [] for engine in engines}
    for first in range(-turn, repeats, turn):  # one turn more, to warm up
        for engine in engines:
            image = engine.batch[:1]
            for i in range(-3, min(turn, repeats - first)):
                start = time.perf_counter()
                engine.run(image)
                if first >= 0 and i >= 0:
                    times[engine.name].append(1e3 * (time.perf_counter() - start))
    return {name: (float(np.median(t)), float(np.percentile(t, 99))) for name, t in times.items()}


def throughput(engines, *, rounds=5):
    """{name: images/s}, the median over `rounds` in which every engine takes its turn on its batch."""
    rates = {engine.name: [] for engine in engines}
    for i in range(rounds + 1):
        for engine in engines:
            start = time.perf_counter()
            engine.stream(engine.batch)
            if i:  # the first round warms up
                rates[engine.name].append(len(engine.batch) / (time.perf_counter() - start))
    return {name: float(np.median(r)) for name, r in rates.items()}


def torch_engine(name, model, batch):
    """PyTorch on the CPU. `batch` float (N, 3, H, W) or uint8 (N, H, W, 3)."""
    run = torch_runner(model)
    return Engine(name, run, run, batch)


def onnx_engine(name, path, batch, *, fixed_batch=False):
    """ONNX Runtime. fixed_batch: the file takes one image, so a batch goes through one by one."""
    run = onnx_session(path)
    return Engine(name, run, (lambda images: [run(image[None]) for image in images]) if fixed_batch else run, batch)


def openvino_engine(name, xml_path, batch):
    """OpenVINO, tuned for latency, and for throughput with parallel requests of one image each."""
    return Engine(name, openvino_runner(xml_path), openvino_stream_runner(xml_path), batch)


def torch_runner(model):
    """batch array -> logits by PyTorch on the CPU."""
    model = model.eval().to(memory_format=torch.channels_last)

    def run(batch):
        with torch.inference_mode():
            tensor = torch.from_numpy(batch)
            return model(tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor)

    return run


def openvino_runner(xml_path):
    """One image at a time -> logits by OpenVINO."""
    request = compile_ir(xml_path).create_infer_request()
    return lambda batch: request.infer([batch])


def openvino_stream_runner(xml_path):
    """A batch, image after image through parallel requests, by OpenVINO tuned for throughput."""
    queue = ov.AsyncInferQueue(compile_ir(xml_path, "THROUGHPUT"))

    def run(batch):
        for i in range(len(batch)):
            queue.start_async([batch[i : i + 1]])
        queue.wait_all()

    return run
