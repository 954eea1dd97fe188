"""ONNX file -> OpenVINO IR (FP32), with what OpenVINO Model API and people need written into it."""

import openvino as ov
from openvino import opset13 as opset
from openvino.preprocess import ColorFormat, PrePostProcessor, ResizeAlgorithm

F32 = {"INFERENCE_PRECISION_HINT": "f32"}  # some CPUs would otherwise compute FP32 models in bf16


def write_ir(onnx_path, xml_path, model_info, *, pixels=None):
    """Write `xml_path` and the .bin beside it from an ONNX file of the network on normalised floats; see `save_ir`."""
    save_ir(ov.convert_model(str(onnx_path)), xml_path, model_info, pixels=pixels)


def save_ir(model, xml_path, model_info, *, pixels=None):
    """Write the OpenVINO `model`, which takes normalised floats NCHW, as `xml_path` and the .bin beside it.

    model_info (dict) goes into the IR's rt_info section of that name. pixels: (mean, std, `rgb` or `bgr`) makes the IR take raw
    uint8 NHWC, (mean, std, color, resize) whole pictures of any size, one at a time, which it resizes to a square and
    cuts in the centre by itself.
    """
    model = _with_pixel_input(model, *pixels) if pixels else model.clone()
    model.inputs[0].node.layout = ov.Layout("NHWC" if pixels else "NCHW")
    for key, value in model_info.items():
        model.set_rt_info(str(value), ["model_info", key])
    ov.save_model(model, str(xml_path), compress_to_fp16=False)


def _with_pixel_input(model, mean, std, color, resize=None):
    """Normalisation in front of a copy of `model`, by OpenVINO's own preprocessing; with `resize`, resizing and cutting too.

    Converting the ONNX file that takes pixels would be simpler, but behind the resize that Model API puts in front,
    OpenVINO 2026.4 runs such a network on swapped channels.
    """
    model = model.clone()
    height, width = (model.inputs[0].partial_shape[axis].get_length() for axis in (2, 3))
    if resize:
        model.reshape([1, 3, height, width])
    steps = PrePostProcessor(model)
    tensor = steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    tensor.set_color_format(ColorFormat.BGR if color == "bgr" else ColorFormat.RGB)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    preprocess = steps.input().preprocess()
    if resize:
        # Training pictures are averaged over what they shrink. OpenVINO's linear resize skips pixels instead, and its one that
        # averages costs more than the network; so it resizes to twice the size and the mean of 2 x 2 pixels does the rest.
        top, left = (resize - height) // 2, (resize - width) // 2
        tensor.set_spatial_dynamic_shape()
        preprocess.resize(ResizeAlgorithm.RESIZE_LINEAR, 2 * resize, 2 * resize).convert_element_type(ov.Type.f32)
        preprocess.convert_layout(ov.Layout("NCHW")).custom(_halve)
        preprocess.crop([0, 0, top, left], [1, 3, top + height, left + width]).convert_layout(ov.Layout("NHWC"))
    # Channels stay last: the other way round, CPUs that compute in bf16 by default normalise coarsely.
    preprocess.convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB)
    preprocess.mean([255 * value for value in mean]).scale([255 * value for value in std])
    return steps.build()


def _halve(node):
    """Mean of 2 x 2 pixels, NCHW."""
    return opset.avg_pool(node, [2, 2], [0, 0], [0, 0], [2, 2], False).output(0)
