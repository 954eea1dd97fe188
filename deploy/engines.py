"""What runs a network on the CPU: PyTorch, ONNX Runtime, OpenVINO. Each runner takes a batch and returns logits float32 (N, K)."""

from pathlib import Path

import numpy as np
import onnxruntime
import openvino as ov
import torch

from deploy.onnx_file import INPUT
from deploy.openvino_ir import F32


def torch_runner(model):
    """batch, float (N, 3, H, W) or uint8 (N, H, W, 3) -> logits by PyTorch."""
    model = model.eval().to(memory_format=torch.channels_last)

    def run(batch):
        with torch.inference_mode():
            tensor = torch.from_numpy(batch)
            return model(tensor.contiguous(memory_format=torch.channels_last)).numpy()

    return run


def onnx_runner(path, *, fixed_batch=False):
    """batch -> logits by ONNX Runtime. fixed_batch: the file takes one image, so a batch goes through one by one."""
    content = Path(path).read_bytes()  # it takes no path that is not UTF-8
    session = onnxruntime.InferenceSession(content, onnxruntime.SessionOptions(), providers=["CPUExecutionProvider"])
    run = lambda batch: session.run(None, {INPUT: batch})[0]  # noqa: E731
    return _one_by_one(run) if fixed_batch else run


def openvino_runner(xml_path):
    """batch -> logits by OpenVINO, tuned for latency; a batch goes through one by one."""
    request = compile_ir(xml_path).create_infer_request()
    return _one_by_one(lambda image: request.infer([image])[0].copy())


def openvino_stream_runner(xml_path):
    """A batch, image after image through parallel requests, by OpenVINO tuned for throughput; answers are not kept."""
    queue = ov.AsyncInferQueue(compile_ir(xml_path, "THROUGHPUT"))

    def run(batch):
        for i in range(len(batch)):
            queue.start_async([batch[i : i + 1]])
        queue.wait_all()

    return run


class OpenVinoQueue:
    """A PyTorch network on the CPU, by OpenVINO tuned for throughput: several batches at a time, answers in order."""

    def __init__(self, network, example, num_threads):
        """example: float32 (B, 3, S, S), B from 2; batches may be as large, or smaller. num_threads: CPU threads for all of it."""
        model = ov.convert_model(torch.export.export(network.eval(), (torch.from_numpy(example),)))
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": num_threads, **F32}
        self.queue = ov.AsyncInferQueue(ov.Core().compile_model(model, "CPU", options))
        self.shape, self.answers = example.shape, {}
        self.queue.set_callback(self._keep)

    def __call__(self, batches):
        """[float32 (B, columns)] for the float32 batches (B, 3, S, S)."""
        self.answers.clear()
        sizes = []
        for number, batch in enumerate(batches):
            sizes.append(len(batch))
            self.queue.start_async([np.resize(batch, self.shape)], number)
        self.queue.wait_all()
        return [self.answers[number][:size] for number, size in enumerate(sizes)]

    def _keep(self, request, number):
        self.answers[number] = request.get_output_tensor(0).data.copy()


def compile_ir(xml_path, hint="LATENCY", threads=0):
    """The network on the CPU for one picture at a time, in FP32 but where it is quantised, tuned for `LATENCY` or `THROUGHPUT`.

    threads: CPU threads; 0: as many as suit the processor.

    As the C++ programs compile it: for batches of any size other kernels are chosen, which round INT8 otherwise.
    """
    core = ov.Core()
    network = core.read_model(str(xml_path))
    shape = network.inputs[0].partial_shape
    shape[0] = 1
    network.reshape(shape)
    return core.compile_model(network, "CPU", {"PERFORMANCE_HINT": hint, "INFERENCE_NUM_THREADS": threads, **F32})


def _one_by_one(run):
    return lambda batch: np.concatenate([run(image[None]) for image in batch])
