"""Latency and throughput of the same network in several engines, measured in turns so that noise hits all alike."""

import time

import numpy as np
import openvino as ov
import torch

from deploy.openvino_ir import compile_ir
from deploy.parity import onnx_session


def latency(runners, image, *, repeats=100, warmup=10):
    """{name: (median ms, 99th percentile ms)} of one image at a time; `runners` {name: call on (1, ...) array} take turns."""
    times = {name: [] for name in runners}
    for i in range(warmup + repeats):
        for name, run in runners.items():
            start = time.perf_counter()
            run(image)
            if i >= warmup:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: (float(np.median(t)), float(np.percentile(t, 99))) for name, t in times.items()}


def throughput(runners, batch, *, rounds=5):
    """{name: images/s}, the median over `rounds` in which every runner takes its turn on `batch`."""
    rates = {name: [] for name in runners}
    for i in range(rounds + 1):
        for name, run in runners.items():
            start = time.perf_counter()
            run(batch)
            if i:  # the first round warms up
                rates[name].append(len(batch) / (time.perf_counter() - start))
    return {name: float(np.median(r)) for name, r in rates.items()}


def torch_runner(model):
    """batch array -> logits by PyTorch on the CPU."""
    model = model.eval().to(memory_format=torch.channels_last)

    def run(batch):
        with torch.inference_mode():
            tensor = torch.from_numpy(batch)
            return model(tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor)

    return run


def openvino_runner(xml_path):
    """One image at a time -> logits by OpenVINO, tuned for latency."""
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


def compare(eager, fused, onnx_path, xml_path, batch, *, repeats=100, fixed_batch=False):
    """Rows (engine, median ms, p99 ms, images/s at one a time, images/s throughput) for the four engines on `batch` (N, ...).

    fixed_batch: the files take one image, so the throughput of ONNX Runtime is measured one by one too.
    """
    one_at_a_time = {
        "PyTorch eager": torch_runner(eager),
        "PyTorch fused": torch_runner(fused),
        "ONNX Runtime": onnx_session(onnx_path),
        "OpenVINO": openvino_runner(xml_path),
    }
    streaming = {**one_at_a_time, "OpenVINO": openvino_stream_runner(xml_path)}
    if fixed_batch:
        streaming["ONNX Runtime"] = lambda images: [one_at_a_time["ONNX Runtime"](image[None]) for image in images]
    times = latency(one_at_a_time, batch[:1], repeats=repeats)
    rates = throughput(streaming, batch)
    return [(name, *times[name], 1e3 / times[name][0], rates[name]) for name in one_at_a_time]
