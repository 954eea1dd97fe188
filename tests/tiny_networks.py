"""OpenVINO networks of one layer and students that were never trained, whose notes tests may spoil."""

import numpy as np
import openvino as ov
import torch
from helpers import preprocessing
from openvino import opset13 as opset

from deploy.inputs import NetworkInput
from deploy.notes import model_info
from deploy.openvino_ir import save_ir
from models import build_model
from utils.checkpoints import save_checkpoint

CLASSES = ["blue", "green", "red"]
PREPROCESSING = preprocessing(16, 20)


def by_colour(shape=(-1, 3, 16, 16), kind=np.float32):
    """Float pixels NCHW -> logits, the mean of B, G and R: it answers with the picture's colour."""
    image = opset.parameter(ov.PartialShape([*shape]), kind, name="image")
    floats = opset.convert(image, "f32")
    means = opset.reduce_mean(floats, np.int64([2, 3]), keep_dims=False)
    logits = opset.matmul(means, 10 * np.float32([[0, 0, 1], [0, 1, 0], [1, 0, 0]]), False, False)
    return ov.Model([logits], [image], "by_colour")


def write_tiny_ir(folder, network=None, *, taken=None, labels_file=True, **notes):
    """model.xml, model.bin and labels.txt in `folder`; `notes` change what the IR says of itself, None leaves a key out.

    Returns the path of model.xml.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = taken or NetworkInput(PREPROCESSING)
    info = {key: value for key, value in {**model_info(CLASSES, taken), **notes}.items() if value is not None}
    save_ir(network or by_colour(), folder / "model.xml", info, pixels=taken.ir_pixels)
    if labels_file:
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return folder / "model.xml"


def student_notes(classes=CLASSES):
    """What a student of these classes says of itself."""
    return {
        "classes": classes,
        "model": {"name": "mobilenet_v3_small", "num_classes": len(classes), "head": "linear", "pooling": "avg", "image_size": 32,
                  "dropout": 0.2, "bn_momentum": None},
        "preprocessing": {"image_size": 32, "resize": 36, "fit": "stretch", "mean": [0.5] * 3, "std": [0.25] * 3},
        "fingerprint": "f00d",
        "measured_on": "nothing",
        "code_version": "v1",
    }  # fmt: skip


def student_state(num_classes=3, seed=0):
    torch.manual_seed(seed)
    return build_model("mobilenet_v3_small", num_classes, image_size=32).state_dict()


def write_student(path, classes=CLASSES, seed=0, **weights):
    """A student that was never trained as m11.py would leave it; `weights` change some by the names of state_dict."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {**student_state(len(classes), seed), **{name.replace("__", "."): value for name, value in weights.items()}}
    save_checkpoint(path, state, student_notes(classes))
    return path
