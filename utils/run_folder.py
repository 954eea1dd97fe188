"""A run folder, runs/<name>: what a run leaves, each path spelt once, and why it can be trusted.

A stage (`teacher`, `student`, `control`) is claimed before anything of it is written: once there are checkpoints, its settings are
compared with those that they were made with. So the config.py beside them is theirs, whatever was typed since.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import read_json, sha256, write_json, write_text
from utils.config import BEFORE, FORMATS_BEFORE, TAKEN_OUT
from utils.differences import differences
from utils.runlog import environment


@dataclass(frozen=True)
class TrainingFolder:
    """What one training leaves: of the student, or of one fold of the teacher."""

    path: Path

    @property
    def best(self):
        """The checkpoint with the best accuracy on held-out pictures."""
        return self.path / "best.pth"

    @property
    def last(self):
        """The newest checkpoint, with all that is needed to go on."""
        return self.path / "last.pth"

    @property
    def head(self):
        """As `last`, of the stage before, which trains the head alone."""
        return self.path / "head.pth"

    @property
    def final_last(self):
        """As `last`, of the student's second stage."""
        return self.path / "final_last.pth"

    def final(self, epoch):
        """The checkpoint after epoch number `epoch`, from 1, of the student's second stage."""
        return self.path / f"final_{epoch}.pth"

    @property
    def averaged(self):
        """The mean of the second stage's checkpoints."""
        return self.path / "averaged.pth"

    @property
    def metrics(self):
        """A row of numbers for each epoch."""
        return self.path / "metrics.csv"

    @property
    def features(self):
        """Pooled features of the frozen backbone, of all training pictures."""
        return self.path / "features.npy"

    @property
    def validation_features(self):
        return self.path / "validation_features.npy"

    @property
    def oof(self):
        """A fold's part of the OOF table."""
        return self.path / "oof.csv"

    @property
    def validation(self):
        """What a fold's model says of the validation pictures."""
        return self.path / "validation.csv"

    @property
    def confusion(self):
        return self.path / "confusion.png"


@dataclass(frozen=True)
class DeployFolder:
    """What an export leaves. Each network's weights lie beside it, with the suffix .bin."""

    path: Path

    @property
    def onnx(self):
        return self.path / "model.onnx"

    @property
    def network(self):
        """The OpenVINO IR."""
        return self.path / "model.xml"

    @property
    def network_int8(self):
        return self.path / "model_int8.xml"

    @property
    def labels(self):
        """The class names, one a line."""
        return self.path / "labels.txt"

    @property
    def held_out(self):
        """What the calibrated network says of the pictures that its temperature was fitted on."""
        return self.path / "held_out.csv"

    @property
    def page(self):
        """The folder with the page for browsers."""
        return self.path / "page"

    @property
    def manifest(self):
        """What the others are, and their SHA-256."""
        return self.path / "manifest.json"


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def teacher(self):
        return TrainingFolder(self.path / "teacher")

    @property
    def student(self):
        return TrainingFolder(self.path / "student")

    @property
    def control(self):
        """The same student, trained on hard labels."""
        return TrainingFolder(self.path / "control")

    def fold(self, number):
        """The part of the teacher that fold `number` is held out from."""
        return TrainingFolder(self.path / "teacher" / f"fold{number}")

    def teachers(self):
        """The best checkpoints of all folds; UserError unless the teacher is there, and every fold trained to its end."""
        if not self.settings("teacher").is_file():
            raise UserError(f"{self.teacher.path}: no teacher there. Run e4.py first.")
        folds = [self.fold(k) for k in range(read_json(self.settings("teacher"))["num_folds"])]
        missing = [fold for fold in folds if not (fold.oof.is_file() and fold.best.is_file())]
        if missing:
            raise UserError(
                f"{missing[0].path}: this fold is not trained yet ({len(missing)} of {len(folds)} are missing). "
                "Run e4.py to its end."
            )
        return [fold.best for fold in folds]

    def of_teacher(self, oof=None):
        """The run folder that the teacher's table `oof` lies in; None: this one."""
        return RunFolder(Path(oof).parent) if oof else self

    def validation_tables(self):
        """What the model of each fold said of the validation pictures; empty where not all folds are trained."""
        try:
            return [TrainingFolder(path.parent).validation for path in self.teachers()]
        except UserError:
            return []

    @property
    def folds(self):
        return self.path / "folds.csv"

    @property
    def oof(self):
        """The teacher's OOF table, which the student learns from."""
        return self.path / "oof.csv"

    @property
    def views(self):
        """A teacher's logits for fixed views of the pictures."""
        return self.path / "views.npy"

    @property
    def results_path(self):
        return self.path / "results.json"

    @property
    def deploy(self):
        return self.path / "deploy"

    @property
    def exported(self):
        """The files in `deploy`."""
        return DeployFolder(self.deploy)

    @property
    def report(self):
        """What `report.py` writes."""
        return self.path / "report.html"

    @property
    def submission(self):
        return self.path / "submission"

    def config(self, stage):
        """The config file that `stage` (`teacher`, `student`, `control`) was made with."""
        return self.path / stage / "config.py"

    def settings(self, stage):
        return self.path / stage / "settings.json"

    def claim(self, stage, settings, config_text):
        """Say that `stage` is being made with `settings` (a dict of JSON types); its config.py and environment.json are written.

        Raises UserError, and writes nothing, where there are checkpoints that were made with other settings. A stage that failed or
        was killed before its first one, such as for its learning rate, may be begun with others.
        """
        path = self.settings(stage)
        if path.is_file() and any(path.parent.rglob("*.pth")):
            noted = {key: value for key, value in read_json(path).items() if (key, value) not in TAKEN_OUT.items()}
            before = {key: value for key, value in (BEFORE | FORMATS_BEFORE).items() if key in settings} | noted
            _check_same(path.parent, before, settings)
        else:
            write_json(path, settings)
        write_text(self.config(stage), config_text)
        write_json(path.with_name("environment.json"), environment())

    def results(self):
        """{section: what was achieved}; {} before anything was."""
        return read_json(self.results_path) if self.results_path.is_file() else {}

    def save_results(self, section, values):
        """Put `values` under `section` of results.json, which the scripts of a run share; `test` is of the last `deploy` alone."""
        kept = {name: found for name, found in self.results().items() if (section, name) != ("deploy", "test")}
        write_json(self.results_path, {**kept, section: values})

    def trained(self):
        """The student's checkpoint: averaged where there was a second stage, else the best. UserError where there is none."""
        for path in (self.student.averaged, self.student.best):
            if path.is_file():
                return path
        raise UserError(f"{self.path}: has no student ({self.student.best}). Give the folder of a run that m11.py finished.")

    def shipped(self):
        """The student's checkpoint that was exported; before an export, the one that would be."""
        if not self.exported.manifest.is_file():
            return self.trained()
        return self.student.path / self._exported_checkpoint()["file"]

    def export_is_current(self):
        """Is the exported network the student that lies here now? A student that was removed since is taken for the same."""
        path = self.shipped()
        return not path.is_file() or sha256(path) == self._exported_checkpoint()["sha256"]

    def is_exported(self, checkpoint):
        """Is the file `checkpoint` the one that the exported network was made of?"""
        path = Path(checkpoint).absolute()
        if path.parent != self.student.path.absolute() or not self.exported.manifest.is_file():
            return False
        return path.name == self._exported_checkpoint()["file"] and self.export_is_current()

    def _exported_checkpoint(self):
        """{'file': name, 'sha256': hex} of the manifest."""
        checkpoint = read_json(self.exported.manifest).get("checkpoint")
        if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(key), str) for key in ("file", "sha256")):
            raise UserError(
                f"{self.exported.manifest}: does not say which checkpoint was exported. Export again: export_openvino.py."
            )
        return checkpoint


def _check_same(folder, before, now):
    if lines := differences(before, now):
        raise UserError(
            f"{folder}: holds a run with other settings:\n{lines}\nGive this run another name (--cfg-options name=...), "
            f"use the old settings, or delete {folder} to start again."
        )
