"""One picture in, class probabilities out: the pixel path of training around an exported IR, a checkpoint or several."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from scipy.special import softmax

from common.errors import UserError
from common.files import check_files, read_json
from data.decode import MAX_PIXELS, read_rgb
from data.preprocessing import Preprocessing
from deploy.engines import compile_ir
from deploy.manifest import read_answering
from deploy.notes import check_classes, read_input, read_notes, read_reject_below
from models.heads import divide_logits
from recipe.saved_model import check_names, load_model
from utils.run_folder import DeployFolder, RunFolder, TrainingFolder
from utils.runlog import log

IR = re.compile(rb'<net [^>]*version="1[01]"')
UNKNOWN = "unknown"  # the class of a picture that is rejected


def open_predictor(path, *, flip=False, reject_below=None, threads=0):
    """The predictor for `path`: a run folder (its exported IR, or its student), RUN/teacher, an IR's .xml, or a checkpoint's .pth.

    flip: answer with the mean of the picture and its mirror image. reject_below: confidence, 0..1, below which the class is
    `UNKNOWN`; None: what the export says. threads: of an IR, see `compile_ir`.
    """
    predictor = _open(Path(path), threads)
    predictor.flip = flip
    if reject_below is not None:
        predictor.reject_below = reject_below
    if predictor.reject_below and UNKNOWN in predictor.classes:
        log.warning(
            f"a class is called '{UNKNOWN}', as is what is rejected: those are the rows with a confidence below "
            f"{predictor.reject_below:g}"
        )
    return predictor


def _open(path, threads):
    place = Path(os.path.abspath(path))
    if path.is_dir() and _is_of_teacher(place):
        return TeacherPredictor(RunFolder(place.parent).teachers())
    if path.is_dir() and _is_of_teacher(place.parent):
        path = _best_of_fold(TrainingFolder(path))
    elif path.is_dir():
        path = _newest(RunFolder(path))
    elif path.suffix == ".xml":
        _tell_if_older(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file. Give a run folder, a model.xml that export_openvino.py wrote, or a checkpoint.")
    if path.suffix == ".xml":
        return IrPredictor(path, threads)
    if path.suffix == ".pth":
        return CheckpointPredictor(path)
    raise UserError(f"{path}: neither a run folder, nor a .xml, nor a .pth file.")


def _is_of_teacher(folder):
    """Is it the folder `teacher` of a run (and no run of that name)?"""
    return folder.name == "teacher" and RunFolder(folder.parent).settings("teacher").is_file()


def _best_of_fold(fold):
    if not fold.best.is_file():
        raise UserError(f"{fold.path}: not a fold that was trained (no {fold.best.name}). Run e4.py to its end.")
    return fold.best


def _newest(folder):
    """The exported IR of a run, unless the student was trained anew since."""
    if not folder.exported.network.is_file():
        return folder.trained()
    if folder.export_is_current():
        return folder.exported.network
    log.warning(
        f"{folder.deploy}: was exported from an older student; {folder.trained()} answers instead. "
        f"Run: python export_openvino.py {folder.path}"
    )
    return folder.trained()


def _tell_if_older(xml_path):
    run = _run_of(xml_path)
    if run and not run.export_is_current():
        log.warning(f"{xml_path}: was exported from an older student. Run: python export_openvino.py {run.path}")


def _run_of(xml_path):
    """The `RunFolder` that an IR was exported in, None for one that lies elsewhere."""
    folder = xml_path.absolute().parent
    run = RunFolder(folder.parent)
    return run if folder == run.deploy and run.exported.manifest.is_file() else None


def student_of(predictor):
    """The `CheckpointPredictor` of the student that `predictor` answers for: itself, or the one that its IR was exported from.

    Raises UserError where that lies elsewhere, or was trained anew, and for a teacher, which is several.
    """
    if isinstance(predictor, TeacherPredictor):
        raise UserError(
            f"{predictor.path}: its {len(predictor.models)} models each look elsewhere, so there is no map of them all. "
            f"Give one of them: {predictor.models[0].path.parent}"
        )
    if isinstance(predictor, CheckpointPredictor):
        return predictor
    run = _run_of(predictor.path)
    if run is None or not run.shipped().is_file() or not run.export_is_current():
        raise UserError(
            f"{predictor.path}: the student that it was exported from, which makes the maps, does not lie in its run, or was "
            "trained anew. Give its checkpoint (.pth) instead, or export again."
        )
    return CheckpointPredictor(run.shipped())


class Predictor:
    """Called with uint8 RGB (H, W, 3) of any size, answers with probabilities float32 (K,); `classes` names them.

    Raises UserError where the network answers with something else than numbers.
    """

    path: Path  # of its file, or folder
    files: list[Path]  # that it consists of
    classes: list[str]
    flip = False  # answer with the mean of the picture and its mirror image
    reject_below = 0.0  # confidence below which the class is unknown
    temperature = 1.0  # by which the logits are divided here, besides what the files do
    preprocessing: Preprocessing

    def read(self, path, max_pixels=MAX_PIXELS):
        """The pixels of the file at `path`, as `data.decode.read_rgb` raises and gives them to this network."""
        return read_rgb(path, max_pixels, self.preprocessing.at_least)

    def __call__(self, pixels):
        probs = self.probabilities(pixels)
        if self.flip:
            probs = (probs + self.probabilities(np.ascontiguousarray(pixels[:, ::-1]))) / 2
        return probs

    def class_of(self, probs):
        """The name of the most probable class, or `UNKNOWN`; compared as float32, as the C++ program does."""
        return UNKNOWN if probs.max() < np.float32(self.reject_below) else self.classes[int(probs.argmax())]

    def probabilities(self, pixels):
        """Of the picture as it is."""
        probs = softmax(self.logits(pixels))
        if not np.isfinite(probs).all():
            raise UserError("the network's answer is not a number (NaN): it was spoilt in training. Train it again.")
        return probs


class CheckpointPredictor(Predictor):
    """By PyTorch. The checkpoint that a run's exported network was made of answers as that does, calibrated; others as trained."""

    def __init__(self, path):
        saved, self.path, self.files = load_model(path), Path(path), [Path(path)]
        self.model, self.meta, self.classes, self.preprocessing = saved.model, saved.meta, saved.classes, saved.preprocessing
        run = RunFolder(self.path.absolute().parent.parent)
        if run.is_exported(path):
            self.temperature, self.reject_below = read_answering(run.exported.manifest)
            divide_logits(self.model.head, self.temperature)

    def logits(self, pixels):
        with torch.inference_mode():
            return self.model(self.network_tensor(pixels))[0].numpy()

    def network_tensor(self, pixels):
        """float32 (1, 3, S, S), as in training."""
        batch = torch.from_numpy(self.preprocessing.network_input(self.preprocessing.square(pixels)[None]))
        return batch.contiguous(memory_format=torch.channels_last)


class TeacherPredictor(Predictor):
    """The mean of the probabilities of several checkpoints, the models of a teacher's folds."""

    def __init__(self, paths):
        self.models = [CheckpointPredictor(path) for path in paths]
        self.path, self.classes = Path(paths[0]).parent.parent, self.models[0].classes
        self.files = [file for model in self.models for file in model.files]
        self.preprocessing = self.models[0].preprocessing  # the folds share their settings
        for model in self.models:
            if model.classes != self.classes:
                raise UserError(f"{model.path}: knows other classes than {self.models[0].path}. Train the folds again: e4.py.")

    def probabilities(self, pixels):
        return np.mean([model.probabilities(pixels) for model in self.models], axis=0)


class IrPredictor(Predictor):
    """By OpenVINO on the CPU. What the network leaves to its caller (resizing, cutting, normalising) it says in its own notes."""

    def __init__(self, xml_path, threads=0):
        self.path = xml_path = Path(xml_path)
        self.files = [xml_path, xml_path.with_suffix(".bin")]
        _check_whole(xml_path)
        if not IR.search(xml_path.read_bytes()[:4096]):  # OpenVINO would try, and talk about, all formats it knows
            raise UserError(f"{xml_path}: not a network that OpenVINO can read, or damaged. Export it again.")
        with _explained(xml_path):
            network = ov.Core().read_model(str(xml_path))
        notes = read_notes(network, xml_path)
        self.classes = _class_names(xml_path, notes)
        check_names(self.classes, xml_path)
        check_classes(network, self.classes, xml_path)
        self.input, self.reject_below = read_input(network, notes, xml_path), read_reject_below(notes, xml_path)
        self.preprocessing = self.input.preprocessing
        with _explained(xml_path):
            self._request = compile_ir(xml_path, threads=threads).create_infer_request()

    def logits(self, pixels):
        with _explained(self.path):
            return self._request.infer([self.input.picture_input(pixels)])[0][0]


@contextmanager
def _explained(xml_path):
    """Turn what OpenVINO raises into a UserError."""
    try:
        yield
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"{xml_path}: OpenVINO cannot use it ({lines[-1][:300] if lines else 'no reason'}). Export it again."
        ) from error


def _check_whole(xml_path):
    """UserError where a file is not the one that the manifest beside it describes; an IR without a manifest is taken as it is."""
    files = DeployFolder(xml_path.parent)
    if files.manifest.is_file():
        names = [xml_path.name, xml_path.with_suffix(".bin").name, files.labels.name]
        check_files(xml_path.parent, read_json(files.manifest).get("files"), names, "Export it again with export_openvino.py.")


def _class_names(xml_path, notes):
    """The names in labels.txt beside the IR; without it those in the notes, whose blanks are underscores."""
    labels = DeployFolder(xml_path.parent).labels
    if labels.is_file():
        try:
            return labels.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise UserError(f"{labels}: damaged: not UTF-8 ({error.reason}). Copy or export it again.") from error
    return notes.get("labels", "").split()


def check_exported(folder, xml_path):
    """Is the IR of a run there, and of the student that lies beside it? UserError otherwise."""
    flag = " --int8" * ("int8" in xml_path.name)
    if not xml_path.is_file():
        raise UserError(f"{xml_path}: not there. Run: python export_openvino.py {folder.path}{flag}")
    if not folder.export_is_current():
        raise UserError(f"{xml_path}: was exported from an older student. Run: python export_openvino.py {folder.path}{flag}")
