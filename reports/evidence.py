"""What a run left, opened once for all sections of its report."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import read_csv, read_json
from data.dataset import ImageDataset
from data.targets import read_oof
from recipe.pictures import SEEN, HeldOut, open_data, preprocessing_of, student_split
from utils.config import RunConfig, load_config
from utils.run_folder import RunFolder
from utils.session import Session


class Missing(Exception):
    """A section has nothing to show; `text` says why, in English with {placeholders}, `values` fill them."""

    def __init__(self, text, **values):
        super().__init__(text)
        self.text, self.values = text, values


@dataclass(frozen=True)
class Pictures:
    """The pictures themselves: those that were trained on, and those that the student is judged by."""

    training: ImageDataset
    held_out: HeldOut


@dataclass(frozen=True)
class Evidence:
    """The files of one run; each property reads one of them, and raises `Missing` or UserError where it cannot."""

    run: Session

    @property
    def folder(self) -> RunFolder:
        return self.run.folder

    @property
    def config(self) -> RunConfig:
        return self.run.config

    @cached_property
    def results(self):
        """results.json."""
        return self.folder.results()

    @cached_property
    def deployed(self):
        """What the export measured: the section `deploy` of results.json."""
        command = f"python export_openvino.py {self.folder.path}"
        if "deploy" not in self.results or not self.folder.exported.manifest.is_file():
            raise Missing("Nothing was exported yet. Run: {command}", command=command)
        fingerprint = read_json(self.folder.exported.manifest).get("fingerprint")
        if not self.folder.export_is_current() or fingerprint != self.settings["fingerprint"]:
            raise Missing("What was exported is an older student. Run: {command}", command=command)
        return self.results["deploy"]

    @cached_property
    def manifest(self):
        """manifest.json of the export."""
        self.deployed  # noqa: B018, raises Missing
        return read_json(self.folder.exported.manifest)

    @property
    def stage(self):
        """What was trained last, `student` or `teacher`."""
        return "student" if self.folder.settings("student").is_file() else "teacher"

    @property
    def section(self):
        """The settings of that stage, by which its pictures were cached."""
        return getattr(self.config, self.stage)

    @cached_property
    def settings(self):
        """settings.json of that stage."""
        return read_json(self.folder.settings(self.stage))

    @cached_property
    def pictures(self):
        """The `Pictures`; Missing, with the reason, where they are not what they were at the training."""
        try:
            training, validation = open_data(self.run, preprocessing_of(self.section))
        except UserError as error:
            raise Missing("The pictures cannot be shown: {reason}", reason=str(error).splitlines()[0]) from error
        if self.stage == "student":
            held_out = student_split(self.run, training, validation)[1]
        else:  # a teacher's folds judge themselves; validation pictures are shown beside them
            held_out = HeldOut(validation or training, np.arange(len(validation) if validation else 0), "", validation is None)
        now = {"fingerprint": training.fingerprint, "held_out": held_out.dataset.fingerprint}
        if any(self.settings[key] != value for key, value in now.items() if key in self.settings):
            raise Missing("The pictures have changed since the training, so they are not shown.")
        return Pictures(training, held_out)

    @cached_property
    def teacher_config(self):
        """The `RunConfig` that the teacher here was trained with; None where there is none."""
        path = self.folder.config("teacher")
        return load_config(path.absolute()) if path.is_file() else None

    @property
    def classes(self):
        """The class names, in the order of the network's answers."""
        return tuple(self.settings["classes"])

    @cached_property
    def out_of_fold(self):
        """float32 (N, K): what the teacher's folds say of the training pictures that they never saw."""
        path = self.config.student.oof or self.folder.oof
        try:
            return read_oof(path, self.pictures.training)
        except UserError as error:
            raise Missing("No out-of-fold predictions: {reason}", reason=str(error).splitlines()[0]) from error

    @cached_property
    def answers(self):
        """The student's calibrated answers for the held-out pictures that it never saw, a table path, label, p_<class>..."""
        self.manifest  # noqa: B018, raises Missing
        path = self.folder.exported.held_out
        if not path.is_file():
            raise Missing("The export left no answers. Run: {command}", command=f"python export_openvino.py {self.folder.path}")
        return read_csv(path, texts=("path", "label"))

    @cached_property
    def answering(self):
        """The checkpoint that gave `answers`: the exported one, or best.pth where that saw the held-out pictures."""
        shipped = self.folder.shipped()
        seen = self.deployed["measured_on"].endswith(SEEN)
        return self.folder.student.best if seen else shipped

    @cached_property
    def probabilities(self):
        """float64 (M, K) of `answers`."""
        return self.answers[[f"p_{name}" for name in self.classes]].to_numpy(np.float64)

    @cached_property
    def labels(self):
        """int64 (M,) of `answers`."""
        number = {name: k for k, name in enumerate(self.classes)}
        return self.answers["label"].map(number).to_numpy(np.int64)

    def histories(self):
        """{name: metrics.csv as a DataFrame} of each fold and of the student, as far as they are there."""
        folders = {"student": self.folder.student, "control": self.folder.control}
        if self.folder.settings("teacher").is_file():
            count = read_json(self.folder.settings("teacher"))["num_folds"]
            folders |= {f"fold {k}": self.folder.fold(k) for k in range(count)}
        tables = {name: folder.metrics for name, folder in folders.items()}
        return {name: pd.read_csv(path) for name, path in tables.items() if path.is_file()}
