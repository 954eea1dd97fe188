"""What teachers say of fixed views of the pictures: logits, stored beside the teacher's oof.csv.

They are float16 (N, V, K), made once, part after part, by all processes together. Their record says of which pictures, views and
networks they are; for others they are made again.
"""

import hashlib
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from common.arrays import digest_of
from common.files import sha256
from data.fixed_views import FixedViews
from data.targets import held_out_folds
from data.view_targets import ViewTargets
from recipe.pictures import Pictures, open_unlabelled, preprocessing_of
from recipe.saved_model import load_teacher
from recipe.view_store import OfPixels, fill
from utils.checkpoints import state_digest

SEED = 42  # of the views, whatever the run's: they are data, and students of several seeds share them


@dataclass(frozen=True)
class StoredViews:
    """Fixed views of the pictures, labelled and then unlabelled ones, as a student learns from them."""

    fixed: FixedViews
    images: Pictures
    targets: ViewTargets
    unlabelled: np.ndarray  # int64 (U,), numbers of the unlabelled pictures
    digest: str  # SHA-256 of which views they are and of what is stored of them


def open_stored_views(run, dataset, rows, held_out, hard):
    """The `StoredViews` that the student's section asks for, None where it asks for none.

    rows: numbers of the pictures of `dataset` that train it. held_out: the `HeldOut` that judges it. hard: (N, K), the labels.
    What is missing is made, which takes some minutes. Raises UserError where there is no teacher, or one of other pictures.
    """
    section = run.config.student
    if not section.labels_views:
        return None
    unlabelled, num_labelled = open_unlabelled(run, preprocessing_of(section), held_out), len(dataset)
    pictures = Pictures((dataset,) if unlabelled is None else (dataset, unlabelled))
    fixed = FixedViews(pictures.paths, section.num_views, SEED, section.blended_views, _groups(run, pictures, rows))
    logits = _stored_logits(run, fixed, pictures)
    weight = np.full(len(pictures), section.teacher_weight, np.float32)
    weight[num_labelled:] = 1.0
    padded = np.zeros((len(pictures), hard.shape[1]), np.float32)
    padded[:num_labelled] = hard
    return StoredViews(
        fixed=fixed,
        images=pictures,
        targets=ViewTargets(fixed, padded, logits=logits, weight=weight),
        unlabelled=np.arange(num_labelled, len(pictures)),
        # What is stored, to the byte: made again on another machine it may differ in the last digit.
        digest=hashlib.sha256(f"{fixed.describe()}\n{digest_of(logits)}".encode()).hexdigest(),
    )


def _groups(run, pictures, rows):
    """int (N,): who may be blended with whom, None where nobody is.

    Whoever labels both has seen neither; what judges the student, and unlabelled pictures, stay apart.
    """
    section, dataset = run.config.student, pictures.parts[0]
    if not section.blended_views:
        return None
    groups = 2 * _folds(run, dataset) if section.views_by == "folds" else np.zeros(len(dataset), np.int64)
    groups[np.setdiff1d(np.arange(len(dataset)), rows)] += 1
    return np.concatenate([groups, np.full(len(pictures) - len(dataset), -1)])


def _folds(run, dataset):
    """int64 (N,): the fold whose model never saw the picture."""
    teacher = _beside_teacher(run)
    return held_out_folds([teacher.fold(number).oof for number in range(len(teacher.teachers()))], dataset)


# Who says it


@dataclass(frozen=True)
class Asked:
    """Models that look at the views of some pictures, and what is kept of it: the mean of their distributions, as logits."""

    models: tuple[nn.Module, ...]
    rows: np.ndarray  # int64, numbers of pictures


class MeanOf(nn.Module):
    """Logits of the mean of the distributions of several modules, (B, K); of a single one, its own logits."""

    def __init__(self, modules):
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, x):
        if len(self.parts) == 1:
            return self.parts[0](x)
        return torch.stack([part(x).softmax(1) for part in self.parts]).mean(0).clamp_min(1e-7).log()


class HeadsOf(nn.Module):
    """What `MeanOf` says of several classifiers that share a backbone, which is asked once."""

    def __init__(self, models):
        super().__init__()
        self.first, self.heads = models[0], MeanOf([model.head for model in models])

    def forward(self, images):
        return self.heads(self.first.features(images))


def labellers(run, dataset, num_pictures):
    """(models as `Asked`, their `Preprocessing`, text that says who they are) as `student.views_by` asks for.

    `folds`: each labelled picture by the fold's model that never saw it, the unlabelled ones by all folds' models together; `mean`:
    all by those; else a checkpoint. Raises UserError where they are missing, of other classes, or see pictures otherwise.
    """
    section, everything = run.config.student, np.arange(num_pictures)
    if not section.labelled_by_folds:
        saved = load_teacher(section.views_by, section, dataset, run.device)
        return [Asked((saved.model,), everything)], saved.preprocessing, f"checkpoint {sha256(section.views_by)}"
    teacher = _beside_teacher(run)
    paths = teacher.teachers()
    saved = [load_teacher(path, section, dataset, run.device) for path in paths]
    models, preprocessing = tuple(one.model for one in saved), saved[0].preprocessing
    who = f"{section.views_by} {' '.join(map(sha256, paths))}"
    if section.views_by == "mean":
        return [Asked(models, everything)], preprocessing, who
    folds = _folds(run, dataset)
    who += f", folds {hashlib.sha256(folds.tobytes()).hexdigest()}"
    asked = [Asked((model,), np.flatnonzero(folds == number)) for number, model in enumerate(models)]
    if num_pictures > len(dataset):
        asked.append(Asked(models, everything[len(dataset) :]))
    return asked, preprocessing, who


def _beside_teacher(run):
    """The run folder of the teacher, where students that learn from the same views find them."""
    return run.folder.of_teacher(run.config.student.oof)


def _stored_logits(run, fixed, pictures):
    """The array (N, V, K)."""
    dataset, path = pictures.parts[0], _beside_teacher(run).views
    asked, preprocessing, who = labellers(run, dataset, len(pictures))
    mark = f"{pictures.seen}, {fixed.describe()}, {preprocessing}, {who}"
    together = HeadsOf if len({_before_the_head(model) for part in asked for model in part.models}) == 1 else MeanOf
    questions = [(together(part.models), part.rows) for part in asked]
    return fill(path, len(dataset.classes), fixed, mark, questions, partial(OfPixels, run, fixed, preprocessing))


def _before_the_head(model):
    """Equal for models that make the same features of a picture."""
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
    return state_digest(state), type(model.pool)
