"""Latency and throughput of the same network in several engines, measured in turns so that noise hits all alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import joblib
import numpy as np
import openvino as ov
import torch

from deploy.engines import onnx_runner, openvino_runner, openvino_stream_runner, torch_runner

SECONDS = 5.0  # that each engine gets for its latency, and again for its throughput, unless it has been asked often enough before


@dataclass(frozen=True)
class Engine:
    """One way to run a network."""

    name: str
    run: Callable  # on one image, (1, ...), tuned for latency
    stream: Callable  # on all of `batch`, tuned for throughput
    batch: np.ndarray  # (N, ...), as this engine takes it


def machine():
    """The processor that speeds are of, and whether it multiplies INT8 by instructions of its own, in words."""
    able = [name for name, there in torch.cpu.get_capabilities().items() if there is True]
    int8 = [name for name in able if name.endswith("vnni") or name == "amx_int8"]
    name = ov.Core().get_property("CPU", "FULL_DEVICE_NAME")
    return f"{joblib.cpu_count()} cores of {name}, INT8 instructions: {', '.join(int8) or 'none'}"


def compare(engines, *, repeats=100):
    """Rows (engine, median ms, p99 ms, images/s one at a time, images/s throughput)."""
    times, rates = latency(engines, repeats=repeats), throughput(engines)
    return [(engine.name, *times[engine.name], 1e3 / times[engine.name][0], rates[engine.name]) for engine in engines]


def latency(engines, *, repeats=100, turn=20):
    """{name: (median ms, 99th percentile ms)} of one image at a time; the engines take turns of `turn` images.

    A slow network, or one on a busy machine, gets fewer images, so that all of it takes `SECONDS` for each engine.
    """
    times, end = {engine.name: [] for engine in engines}, time.perf_counter() + SECONDS * len(engines)
    turns = range(-turn, repeats, turn)  # one turn more, to warm up
    for first in turns:
        if first > 0 and time.perf_counter() > end:
            break
        for engine in engines:
            taken = _turn(engine, min(turn, repeats - first), SECONDS / len(turns))
            if first >= 0:
                times[engine.name] += taken
    return {name: (float(np.median(t)), float(np.percentile(t, 99))) for name, t in times.items()}


def _turn(engine, number, seconds):
    """Milliseconds of each of `number` images; of fewer, one at least, where they take longer than `seconds`.

    Three images go before them uncounted: the threads of the engine before spin on for some milliseconds.
    """
    image, times, end = engine.batch[:1], [], time.perf_counter() + seconds
    for i in range(-3, number):
        start = time.perf_counter()
        if start > end and (i < 0 or times):
            continue
        engine.run(image)
        if i >= 0:
            times.append(1e3 * (time.perf_counter() - start))
    return times


def throughput(engines, *, rounds=5):
    """{name: images/s}, the median over `rounds` in which every engine takes its turn on its batch.

    Fewer rounds, one at least, where they take longer than `SECONDS` for each engine.
    """
    rates, end = {engine.name: [] for engine in engines}, time.perf_counter() + SECONDS * len(engines)
    for i in range(rounds + 1):
        if i > 1 and time.perf_counter() > end:
            break
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
    run = onnx_runner(path, fixed_batch=fixed_batch)
    return Engine(name, run, run, batch)


def openvino_engine(name, xml_path, batch):
    """OpenVINO, tuned for latency, and for throughput with parallel requests of one image each."""
    return Engine(name, openvino_runner(xml_path), openvino_stream_runner(xml_path), batch)
