"""The steps of an export: the files in each form, the gate that compares them with PyTorch, INT8 within its budget.

`taken` is a `deploy.inputs.NetworkInput`, `squares` are uint8 RGB pictures (N, R, R, 3) resized but not yet cut.
"""

import numpy as np
import torch
from scipy.special import softmax

from common.errors import UserError
from common.files import write_text
from deploy.benchmark import torch_runner
from deploy.fuse import PixelInput, fuse
from deploy.int8 import quantize
from deploy.onnx_file import export_onnx
from deploy.openvino_ir import model_info, save_ir, write_ir
from deploy.parity import check_parity, ir_probabilities, onnx_probabilities
from recipe import steps
from utils.metrics import accuracy
from utils.runlog import log

CALIBRATION_PICTURES = 300  # NNCF's default


def open_squares(run, meta):
    """(training data set, uint8 (N, R, R, 3) held-out pictures before the cut, their labels (N,))."""
    train = run.config.student
    dataset, validation = steps.open_data(run, train)
    if dataset.fingerprint != meta["fingerprint"]:
        raise UserError(f"{run.config.data.root}: the data set's fingerprint differs from the one the student was trained on.")
    held_out, rows = steps.student_split(run, dataset, validation)[1]
    return dataset, held_out.images[rows], held_out.labels[rows]


def ir_notes(meta, taken, score):
    """What is written into an IR about itself."""
    notes = {"fingerprint": meta["fingerprint"], "accuracy": f"{score:.4f}"}
    return model_info(meta["classes"], meta["preprocessing"], taken.pixels, taken.color, **notes)


def write_networks(fused, files, taken, squares, info):
    """The ONNX file and the IR. The IR is always made from the network on floats, see `save_ir`."""
    onnx_path, xml_path = files
    example = torch.from_numpy(taken.normalised(squares[:2]))
    export_onnx(fused, example, onnx_path, dynamic_batch=not taken.fixed_batch)
    write_ir(onnx_path, xml_path, info, pixels=taken.ir_pixels)
    if taken.pixels:
        on_pixels = PixelInput(fused, taken.preprocessing["mean"], taken.preprocessing["std"], taken.color)
        export_onnx(on_pixels, torch.from_numpy(taken.onnx_input(squares[:2])), onnx_path, dynamic_batch=not taken.fixed_batch)


def gate(model, fused, files, taken, squares, labels, scores, tolerance):
    """Real and random pictures through all engines; adds each engine's accuracy to `scores`, returns the largest differences."""
    noise = np.random.default_rng(0).integers(0, 256, (16, *squares.shape[1:]), np.uint8)
    everything = np.concatenate([squares, noise])
    answers = {
        "PyTorch fused": probabilities(fused, taken.normalised(everything)),
        "ONNX Runtime": onnx_probabilities(files[0], in_batches(taken.onnx_input, everything, 1 if taken.fixed_batch else 64)),
        "OpenVINO": ir_answers(files[1], taken, everything),
    }
    scores |= {engine: accuracy(probs[: len(labels)], labels) for engine, probs in answers.items()}
    differences = check_parity(probabilities(model, taken.normalised(everything)), answers, tolerance)
    log.info("largest difference of probabilities from PyTorch: " + ", ".join(f"{k} {v:.1e}" for k, v in differences.items()))
    return differences


def write_int8(fused, path, taken, training, squares, labels, scores, meta, budget):
    """The INT8 IR if it keeps within `budget` points of the FP32 one; otherwise a line that says what it reached. True if kept."""
    rows = np.random.default_rng(0).permutation(len(training))[:CALIBRATION_PICTURES]
    on_floats = path.with_name("floats.onnx")
    export_onnx(fused, torch.from_numpy(taken.normalised(squares[:2])), on_floats, dynamic_batch=not taken.fixed_batch)
    quantized = quantize(on_floats, taken.normalised(training.images[np.sort(rows)]), taken.normalised(squares), labels,
                         max_drop=budget / 100)  # fmt: skip
    on_floats.unlink()
    save_ir(quantized, path, {}, pixels=taken.ir_pixels)
    score = accuracy(ir_answers(path, taken, squares), labels)
    drop = 100 * (scores["OpenVINO"] - score)
    if drop > budget:
        path.unlink()
        path.with_suffix(".bin").unlink()
        log.info(f"INT8 costs {drop:.2f} points of accuracy ({score:.4f}), more than {budget:g}: FP32 is kept alone.")
        return False
    scores["OpenVINO INT8"] = score
    save_ir(quantized, path, ir_notes(meta, taken, score), pixels=taken.ir_pixels)
    log.info(f"INT8: accuracy {score:.4f}, {drop:.2f} points below FP32 (budget {budget:g})")
    return True


def ir_answers(path, taken, squares):
    """Probabilities (N, K) of an IR on the squares (N, R, R, 3), as it takes them."""
    one_by_one = taken.fixed_batch or taken.whole_pictures
    return ir_probabilities(path, in_batches(taken.ir_input, squares, 1 if one_by_one else 64))


def probabilities(model, inputs):
    """PyTorch's answer, float32 (N, K)."""
    run = torch_runner(model)
    return np.concatenate([softmax(run(batch).numpy(), axis=1) for batch in np.split(inputs, range(64, len(inputs), 64))])


def in_batches(convert, squares, size):
    """`squares` in pieces of `size`, each converted when it is asked for."""
    return (convert(squares[start : start + size]) for start in range(0, len(squares), size))


def export_ir(model, classes, taken, folder):
    """Write an IR of `model` with the input `taken` into the new `folder`; returns the path of its .xml."""
    folder.mkdir()
    size = taken.preprocessing["image_size"]
    export_onnx(fuse(model), torch.zeros(2, 3, size, size), folder / "model.onnx")
    info = model_info(classes, taken.preprocessing, taken.pixels, taken.color)
    write_ir(folder / "model.onnx", folder / "model.xml", info, pixels=taken.ir_pixels)
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in classes))
    return folder / "model.xml"
