"""A student on its way to files: ONNX, OpenVINO IR, INT8, each asked about the same pictures before it is kept."""

import json
from functools import cached_property

import numpy as np
import openvino as ov
import torch
from scipy.special import softmax

from common.errors import UserError
from common.files import write_text
from data.targets import write_answers
from deploy.engines import onnx_runner, openvino_runner, torch_runner
from deploy.fuse import PixelInput, fuse, unfused_batchnorms
from deploy.int8 import quantize
from deploy.notes import model_info
from deploy.onnx_file import export_onnx
from deploy.openvino_ir import save_ir, write_ir
from deploy.parity import check_parity, logits, probabilities
from deploy.timing import onnx_engine, openvino_engine, torch_engine
from models.classifier import calibrated
from recipe.pictures import open_data, student_split
from recipe.saved_model import load_model
from utils.calibration import calibrate
from utils.metrics import accuracy
from utils.run_folder import DeployFolder
from utils.runlog import log

CALIBRATION_PICTURES = 300  # NNCF's default
NOISE_PICTURES = 16  # of random pixels: an engine has to agree on what is no picture at all, too
BATCH = 64  # pictures in memory at a time


class Export:
    """One student, the input that its files will take, and the pictures that they are asked about.

    saved: a `recipe.saved_model.SavedModel`. taken: a `deploy.inputs.NetworkInput`. training: the `ImageDataset` that it was
    trained on. held_out: a `recipe.pictures.HeldOut`. measured_on: what an accuracy on those is of, in words. unseeing: the
    `SavedModel` of this student that never saw those, whose answers calibrate it. reject_below: confidence, 0..1, below which
    programs are to answer `unknown`.
    """

    def __init__(self, saved, taken, training, held_out, measured_on, unseeing, reject_below=0.0):
        self.saved, self.taken, self.training, self.held_out, self.measured_on = saved, taken, training, held_out, measured_on
        self.unseeing, self.reject_below = unseeing, reject_below

    @cached_property
    def calibration(self):
        """What `utils.calibration.calibrate` notes; UserError where the student's answers are no numbers."""
        if not np.isfinite(self._unseen_logits).all():
            raise UserError("the student's answers are not numbers (NaN): it was spoilt in training. Train it again.")
        by_another = "" if self.unseeing is self.saved else ", by best.pth, which never saw it"
        return calibrate(self._unseen_logits, self.held_out.labels, self.held_out.name + by_another)

    @property
    def temperature(self):
        """By which the network's logits are divided."""
        return self.calibration["temperature"]

    @cached_property
    def fused(self):
        """The network that is exported: calibrated, and fused as far as it can be."""
        fused = fuse(calibrated(self.saved.model, self.temperature))
        if left := unfused_batchnorms(fused):
            name = self.saved.meta["model"]["name"]
            log.info(
                f"{name} is exported with {len(left)} BatchNorms unfused, which torch.fx cannot merge: "
                "ONNX Runtime and OpenVINO fuse for themselves."
            )
        return fused

    @cached_property
    def expected(self):
        """What the trained model, calibrated, says of the held-out pictures and the noise: probabilities (N + 16, K)."""
        return softmax(self._logits / self.temperature, axis=1)

    def accuracy(self, probs):
        """Share of right answers among the held-out pictures, which come first in `probs`."""
        return accuracy(probs[: len(self.held_out.rows)], self.held_out.labels)

    def write(self, files):
        """model.onnx, model.xml with its .bin, held_out.csv. The IR is always made from the network on floats, see `save_ir`."""
        onnx_path, taken = files.onnx, self.taken
        self._write_onnx(self.fused, taken.preprocessing.network_input, onnx_path)
        self.network = ov.convert_model(str(onnx_path))
        save_ir(self.network, files.network, self._notes(self.accuracy(self.expected)), pixels=taken.ir_pixels)
        if taken.pixels:
            on_pixels = PixelInput(self.fused, taken.preprocessing.mean, taken.preprocessing.std, taken.color)
            self._write_onnx(on_pixels, taken.onnx_input, onnx_path)
        unseen = softmax(self._unseen_logits / self.temperature, axis=1)
        write_answers(files.held_out, self.held_out.dataset, self.held_out.rows, unseen)

    def check(self, files, tolerance):
        """Ask all that was written: ({engine: accuracy}, {engine: largest difference of probabilities from PyTorch}).

        Raises ParityError where a difference is over `tolerance`.
        """
        taken, one_by_one = self.taken, self.taken.fixed_batch
        answers = {
            "PyTorch fused": self._answers(torch_runner(self.fused), taken.preprocessing.network_input),
            "ONNX Runtime": self._answers(onnx_runner(files.onnx, fixed_batch=one_by_one), taken.onnx_input),
            "OpenVINO": self._ir_answers(files.network),
        }
        differences = check_parity(self.expected, answers, tolerance)
        log.info("largest difference of probabilities from PyTorch: " + ", ".join(f"{k} {v:.1e}" for k, v in differences.items()))
        return {engine: self.accuracy(probs) for engine, probs in {"PyTorch": self.expected, **answers}.items()}, differences

    def check_on_floats(self, path, tolerance):
        """Ask an ONNX file that takes normalised floats, one picture at a time, as `check` asks the others; its difference."""
        answers = self._answers(onnx_runner(path, fixed_batch=True), self.taken.preprocessing.network_input)
        return check_parity(self.expected, {"page": answers}, tolerance)["page"]

    def write_int8(self, files, fp32_accuracy, budget):
        """model_int8.xml if it keeps within `budget` points of the FP32 one; otherwise a line that says what it reached.

        After `write`. Returns {engine: accuracy}, empty where it was not kept.
        """
        path = files.network_int8
        log.info(f"INT8: quantising on {len(self._quantised_on())} training pictures, which takes a while")
        quantized = quantize(self.network, self._quantised_on(), self._inputs(), self.held_out.labels, max_drop=budget / 100)
        save_ir(quantized, path, {}, pixels=self.taken.ir_pixels)
        score = self.accuracy(self._ir_answers(path))
        drop = 100 * (fp32_accuracy - score)
        if drop > budget:
            path.unlink()
            path.with_suffix(".bin").unlink()
            log.info(f"INT8 costs {drop:.2f} points of accuracy ({score:.4f}), more than {budget:g}: FP32 is kept alone.")
            return {}
        save_ir(quantized, path, self._notes(score), pixels=self.taken.ir_pixels)
        log.info(f"INT8: accuracy {score:.4f}, {drop:.2f} points below FP32 (budget {budget:g})")
        return {"OpenVINO INT8": score}

    def engines(self, files):
        """All ways to run what was written, for `deploy.timing.compare`."""
        taken, squares = self.taken, next(self._squares())
        floats = taken.preprocessing.network_input(squares)
        engines = [
            torch_engine("PyTorch eager", self.saved.model, floats),
            torch_engine("PyTorch fused", self.fused, floats),
            onnx_engine("ONNX Runtime", files.onnx, taken.onnx_input(squares), fixed_batch=taken.fixed_batch),
            openvino_engine("OpenVINO", files.network, taken.ir_input(squares)),
        ]
        if files.network_int8.is_file():
            engines.append(openvino_engine("OpenVINO INT8", files.network_int8, taken.ir_input(squares)))
        return engines

    def _write_onnx(self, model, convert, path):
        example = convert(np.zeros((2, *self.training.images.shape[1:]), np.uint8))
        notes = self._notes(self.accuracy(self.expected)) | {"classes": json.dumps(self.saved.classes, ensure_ascii=False)}
        export_onnx(model, torch.from_numpy(example), path, dynamic_batch=not self.taken.fixed_batch, notes=notes)

    def _notes(self, score):
        """What an IR says of itself."""
        return model_info(
            self.saved.classes, self.taken, self.reject_below,
            fingerprint=self.saved.meta["fingerprint"], accuracy=f"{score:.4f}", accuracy_measured_on=self.measured_on,
        )  # fmt: skip

    @cached_property
    def _logits(self):
        """Of the trained model, for the held-out pictures and the noise."""
        return self._logits_of(self.saved.model)

    @cached_property
    def _unseen_logits(self):
        """For the held-out pictures alone."""
        found = self._logits if self.unseeing is self.saved else self._logits_of(self.unseeing.model)
        return found[: len(self.held_out.rows)]

    def _logits_of(self, model):
        return logits(torch_runner(model), map(self.taken.preprocessing.network_input, self._squares()))

    def _answers(self, run, convert):
        return probabilities(run, map(convert, self._squares()))

    def _ir_answers(self, path):
        return self._answers(openvino_runner(path), self.taken.ir_input)

    def _squares(self):
        """uint8 RGB (B, R, R, 3): the held-out pictures before the cut, then the noise, a batch at a time."""
        images, rows = self.held_out.dataset.images, self.held_out.rows
        for start in range(0, len(rows), BATCH):
            yield images[rows[start : start + BATCH]]
        yield np.random.default_rng(0).integers(0, 256, (NOISE_PICTURES, *images.shape[1:]), np.uint8)

    def _quantised_on(self):
        """Some training pictures."""
        rows = np.random.default_rng(0).permutation(len(self.training))[:CALIBRATION_PICTURES]
        return _Inputs(self.taken.preprocessing, self.training.images, np.sort(rows))

    def _inputs(self):
        """All held-out pictures."""
        return _Inputs(self.taken.preprocessing, self.held_out.dataset.images, self.held_out.rows)


class _Inputs:
    """What the network takes of each of the pictures `rows`, float32 (1, 3, S, S), made when it is asked for."""

    def __init__(self, preprocessing, images, rows):
        self.preprocessing, self.images, self.rows = preprocessing, images, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.preprocessing.network_input(self.images[self.rows[i]][None])


def open_export(run, saved, taken, reject_below=0.0):
    """The `Export` of a student of `run`, asked about the pictures that were held out when it was trained."""
    dataset, validation = open_data(run, saved.preprocessing)
    if dataset.fingerprint != saved.meta["fingerprint"]:
        raise UserError(f"{run.config.data.root}: the data set's fingerprint differs from the one the student was trained on.")
    _, held_out = student_split(run, dataset, validation)
    unseeing = _unseeing(run, saved, held_out)
    return Export(saved, taken, dataset, held_out, saved.meta["measured_on"], unseeing, reject_below)


def _unseeing(run, saved, held_out):
    """`saved`, or the student's best checkpoint where `saved` is of the second stage and that saw the held-out pictures."""
    if not held_out.was_seen_by(saved.meta):
        return saved
    best = run.folder.student.best
    if not best.is_file():
        raise UserError(
            f"{best}: not there. The export is calibrated by it, since it alone was not trained on {held_out.name}. "
            "Put it back, or run m11.py again."
        )
    return load_model(best)


def export_ir(model, classes, taken, folder):
    """Write an IR of `model` with the input `taken` into the new `folder`; returns the path of its .xml."""
    folder.mkdir()
    size = taken.preprocessing.image_size
    files = DeployFolder(folder)
    export_onnx(fuse(model), torch.zeros(2, 3, size, size), files.onnx)
    write_ir(files.onnx, files.network, model_info(classes, taken), pixels=taken.ir_pixels)
    write_text(files.labels, "".join(f"{name}\n" for name in classes))
    return files.network
