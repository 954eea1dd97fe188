"""What an IR says of itself, in its section rt_info/model_info: written at export, and read back as data that may be wrong."""

import math

import openvino as ov

from common.errors import UserError
from data.preprocessing import Preprocessing
from deploy.inputs import NetworkInput

PREFIX = "input_"  # of the keys that hold the preprocessing


def model_info(classes, taken, reject_below=0.0, **extra):
    """What an IR and an ONNX file say of themselves: the keys of OpenVINO Model API's ClassificationModel, those of our own pixel
    path, and `extra`, as {key: value}.

    taken: a `NetworkInput`. Means and scales are in 0..255; a network on raw pixels normalises by itself. Model API hands over RGB
    when reverse_input_channels is true (it reads pictures as BGR), but leaves whole pictures (a network that resizes) as they are.
    reject_below: confidence, 0..1, below which our programs answer `unknown`. Model API answers with the best class all the same:
    it looks at confidence_threshold only where a picture may be of several classes. Only networks on whole pictures have the key
    model_type: by it Model API loads a network, and others it would show the whole picture, without the cut, channels swapped.
    """
    preprocessing = taken.preprocessing
    mean = [0.0] * 3 if taken.pixels else [255 * value for value in preprocessing.mean]
    scale = [1.0] * 3 if taken.pixels else [255 * value for value in preprocessing.std]
    return {
        **({"model_type": "Classification"} if taken.whole_pictures else {}),
        "labels": " ".join(label_words(classes)),
        "multilabel": False,
        "hierarchical": False,
        "output_raw_scores": True,
        "confidence_threshold": reject_below,
        "resize_type": "standard",
        "mean_values": " ".join(f"{value:.9g}" for value in mean),
        "scale_values": " ".join(f"{value:.9g}" for value in scale),
        "reverse_input_channels": not (taken.pixels and taken.color == "bgr"),
        **{f"{PREFIX}{key}": value for key, value in preprocessing.as_dict().items()},
        **extra,
    }


def label_words(classes):
    """The class names as single words, all different: blanks become underscores, and a number sets apart what became the same."""
    words = []
    for name in classes:
        word = plain = "_".join(name.split())
        number = 1
        while word in words or (word != name and word in classes):
            number += 1
            word = f"{plain}_{number}"
        words.append(word)
    return words


def read_notes(network, xml_path):
    """The section rt_info/model_info of an OpenVINO network as {key: text}; UserError where there is none."""
    try:
        notes = network.get_rt_info(["model_info"]).astype(dict)
        return {key: value.astype(str) for key, value in notes.items() if not isinstance(value, dict)}
    except RuntimeError as error:
        raise UserError(
            f"{xml_path}: does not say what pictures it takes (no rt_info/model_info). Export it with export_openvino.py."
        ) from error


def read_input(network, notes, xml_path):
    """The `NetworkInput` of an IR with `notes`; UserError where they are out of range or do not fit the network."""
    values = {key.removeprefix(PREFIX): value for key, value in notes.items() if key.startswith(PREFIX)}
    preprocessing = Preprocessing.from_dict(values, xml_path)
    shape, kind = network.inputs[0].partial_shape, network.inputs[0].element_type
    pixels = kind == ov.Type.u8
    if shape.rank != 4 or kind not in (ov.Type.u8, ov.Type.f32):
        raise UserError(f"{xml_path}: takes {kind.to_string()} {shape}, but pictures have four dimensions. Export it again.")
    batch, channels, height, width = (shape[axis] for axis in ((0, 3, 1, 2) if pixels else (0, 1, 2, 3)))
    whole_pictures = pixels and height.is_dynamic and width.is_dynamic
    if channels != 3 or not (batch.is_dynamic or batch == 1):
        raise UserError(f"{xml_path}: takes {shape}, but one picture at a time has three channels. Export it again.")
    if not whole_pictures and (height, width) != (preprocessing.image_size,) * 2:
        raise UserError(
            f"{xml_path}: takes {width} x {height} pixels, but its notes say {preprocessing.image_size}. Export it again."
        )
    if notes.get("reverse_input_channels") not in ("True", "False"):
        raise UserError(f"{xml_path}: does not say in what order it takes colours (reverse_input_channels). Export it again.")
    color = "bgr" if pixels and notes["reverse_input_channels"] == "False" else "rgb"
    return NetworkInput(preprocessing, pixels, color, whole_pictures, fixed_batch=batch.is_static)


def read_reject_below(notes, xml_path):
    """The confidence below which an IR with `notes` wants a picture to be answered as unknown; UserError where it is none."""
    return number_in(0, 1, notes.get("confidence_threshold", 0.0), f"{xml_path}: its note confidence_threshold")


def number_in(lowest, highest, value, what):
    """`value`, which may be anything, as a float within these bounds; UserError, which calls it `what`, otherwise."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not lowest <= number <= highest:
        raise UserError(f"{what} is {value!r}, not a number from {lowest:g} to {highest:g}. Export it again.")
    return number


def check_classes(network, classes, source):
    """Is the network one of one input that answers for as many classes as the file `source` names? UserError otherwise."""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise UserError(
            f"{source}: has {len(network.inputs)} inputs and {len(network.outputs)} outputs, a classifier has one each."
        )
    shape = network.outputs[0].partial_shape
    if shape.rank != 2 or shape[1] != len(classes):
        raise UserError(f"{source}: names {len(classes)} classes, but the network's output has the shape {shape}. Export it again.")
