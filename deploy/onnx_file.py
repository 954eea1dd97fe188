"""PyTorch model -> ONNX file."""

import warnings

import onnx
import torch

from common.files import atomic_path

INPUT, OUTPUT = "image", "logits"


def export_onnx(model, example, path, *, dynamic_batch=True, outputs=(OUTPUT,), notes=None):
    """Write `model` to the ONNX file `path` and check it; input 'image' like `example`, output 'logits' (B, K), or as named.

    example: a batch of the model's input, at least 2 with dynamic_batch: any batch size; otherwise exactly 1.
    notes: {key: value} for the file's metadata, as `deploy.notes.model_info` has them for an IR.
    """
    if not dynamic_batch:
        example = example[:1]
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic_batch else None
    # Some networks keep what they computed once, of which torch warns: it is a constant of the file.
    with atomic_path(path) as temporary, warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            model.eval(), (example,), temporary, input_names=[INPUT], output_names=[*outputs],
            dynamic_shapes=shapes, dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
        network = onnx.load(temporary)
        _strip_notes(network)
        onnx.helper.set_model_props(network, {key: str(value) for key, value in (notes or {}).items()})
        onnx.checker.check_model(network, full_check=True)
        onnx.save(network, temporary)


def _strip_notes(network):
    """The exporter notes at every node which line of which file made it: paths of this machine in a file that is passed on."""
    graph = network.graph
    for item in (network, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.ClearField("metadata_props")
