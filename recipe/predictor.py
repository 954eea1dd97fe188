"""One picture in, class probabilities out: the pixel path of training around an exported IR or a checkpoint."""

from pathlib import Path

import numpy as np
import openvino as ov
import torch
from scipy.special import softmax

from common.errors import UserError
from deploy.inputs import NetworkInput
from deploy.openvino_ir import compile_ir
from recipe import steps


def open_predictor(path):
    """The predictor for `path`: a run folder (its exported IR, or its student), an IR's .xml, or a checkpoint's .pth."""
    path = Path(path)
    if path.is_dir():
        path = path / "deploy/model.xml" if (path / "deploy/model.xml").is_file() else student_checkpoint(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file. Give a run folder, a model.xml that export_openvino.py wrote, or a checkpoint.")
    if path.suffix == ".xml":
        return IrPredictor(path)
    if path.suffix == ".pth":
        return CheckpointPredictor(path)
    raise UserError(f"{path}: neither a run folder, nor a .xml, nor a .pth file.")


def student_checkpoint(path):
    """The checkpoint of a run folder's student (averaged, else best); a checkpoint's own path is returned as it is."""
    path = Path(path)
    if path.suffix == ".pth":
        return path
    files = [path / "student" / name for name in ("averaged.pth", "best.pth")]
    for file in files:
        if file.is_file():
            return file
    raise UserError(f"{path}: has no checkpoint ({files[0]} or best.pth). Give the folder of a run that m11.py finished.")


class CheckpointPredictor:
    """uint8 RGB (H, W, 3) of any size -> probabilities float32 (K,), by PyTorch."""

    def __init__(self, path):
        self.model, self.meta = steps.load_model(path)
        self.classes, self.input = self.meta["classes"], NetworkInput(self.meta["preprocessing"])

    def __call__(self, pixels):
        with torch.inference_mode():
            return self.model(self.network_tensor(pixels)).softmax(1)[0].numpy()

    def network_tensor(self, pixels):
        """float32 (1, 3, S, S), as in training."""
        return torch.from_numpy(self.input.normalised(self.input.square(pixels)[None])).contiguous(
            memory_format=torch.channels_last
        )


class IrPredictor:
    """uint8 RGB (H, W, 3) of any size -> probabilities float32 (K,), by OpenVINO on the CPU.

    What the network leaves to its caller (resizing, cutting, normalising) is read from the IR's own notes.
    """

    def __init__(self, xml_path):
        network = ov.Core().read_model(str(xml_path))
        notes = _notes(network, xml_path)
        self.classes = _class_names(xml_path, notes)
        self.input = _network_input(network, notes)
        self._request = compile_ir(xml_path).create_infer_request()

    def __call__(self, pixels):
        return softmax(self._request.infer([self.network_input(pixels)])[0][0])

    def network_input(self, pixels):
        """The picture as the IR takes it, a batch of one."""
        if self.input.whole_pictures:
            return self.input.ordered(pixels[None])
        return self.input.onnx_input(self.input.square(pixels)[None])


def _notes(network, xml_path):
    """The IR's section rt_info/model_info as a dict of str."""
    if not network.has_rt_info(["model_info", "input_resize"]):
        raise UserError(
            f"{xml_path}: does not say what pictures it takes (no rt_info/model_info). Export it with export_openvino.py."
        )
    return {key: value.astype(str) for key, value in network.get_rt_info(["model_info"]).astype(dict).items()}


def _class_names(xml_path, notes):
    """The names in labels.txt beside the IR; without it those in the notes, whose blanks are underscores."""
    labels = Path(xml_path).with_name("labels.txt")
    return labels.read_text(encoding="utf-8").splitlines() if labels.is_file() else notes["labels"].split()


def _network_input(network, notes):
    shape, pixels = network.inputs[0].partial_shape, network.inputs[0].element_type == ov.Type.u8
    scale = np.array([notes["mean_values"].split(), notes["scale_values"].split()], float) / 255
    preprocessing = {
        "image_size": int(notes["input_image_size"]),
        "resize": int(notes["input_resize"]),
        "fit": notes.get("input_fit", "stretch"),
        "mean": scale[0].tolist(),
        "std": scale[1].tolist(),
    }
    color = "rgb" if notes["reverse_input_channels"] == "True" else "bgr"
    return NetworkInput(
        preprocessing,
        pixels,
        color=color if pixels else "rgb",
        whole_pictures=pixels and shape[1].is_dynamic,
        fixed_batch=shape[0].is_static,
    )
