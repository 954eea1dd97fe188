"""What is stored of fixed views of the pictures: a teacher's logits, beside its oof.csv, and pooled features, beside the pixels.

Both are float16 (N, V, columns), made once, part after part, by all processes together. Their records say of which pictures, views
and networks they are; for others they are made again.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from common.arrays import digest_of
from common.errors import UserError
from common.files import sha256
from data.fixed_views import FixedViews
from data.preprocessing import Preprocessing
from data.targets import held_out_folds
from data.view_targets import ViewTargets
from models.heads import HIDDEN_UNITS
from recipe.pictures import Pictures, cache_folder, open_unlabelled, preprocessing_of
from recipe.saved_model import load_teacher, new_model
from recipe.view_store import OfFeatures, OfPixels, fill
from utils.checkpoints import state_digest

SEED = 42  # of the views, whatever the run's: they are data, and students of several seeds share them


@dataclass(frozen=True)
class StoredViews:
    """Fixed views of the pictures, labelled and then unlabelled ones, as a student learns from them."""

    fixed: FixedViews
    images: Pictures
    targets: ViewTargets
    unlabelled: np.ndarray  # int64 (U,), numbers of the unlabelled pictures
    num_features: int  # how many features stand behind the classes in the targets
    digest: str  # SHA-256 of which views they are and of what is stored of them


def open_stored_views(run, dataset, rows, held_out, hard):
    """The `StoredViews` that the student's section asks for, None where it asks for none.

    rows: numbers of the pictures of `dataset` that train it. held_out: the `HeldOut` that judges it. hard: (N, K), the labels.
    What is missing is made, which takes some minutes. Raises UserError where there is no teacher, or one of other pictures.
    """
    section = run.config.student
    if not section.stores_views:
        return None
    unlabelled, num_labelled = open_unlabelled(run, preprocessing_of(section), held_out), len(dataset)
    pictures = Pictures((dataset,) if unlabelled is None else (dataset, unlabelled))
    fixed = FixedViews(pictures.paths, section.num_views, SEED, section.blended_views, _groups(run, pictures, rows))
    features = _stored_features(run, fixed, pictures) if section.feature_weight else None
    logits = _stored_logits(run, fixed, pictures, features) if section.labels_views else None
    weight = np.full(len(pictures), section.teacher_weight, np.float32)
    weight[num_labelled:] = 1.0
    padded = np.zeros((len(pictures), hard.shape[1]), np.float32)
    padded[:num_labelled] = hard
    # What is stored, to the byte: made again on another machine it may differ in the last digit.
    learnt = [digest_of(array) for array in (logits, features and features.array) if array is not None]
    return StoredViews(
        fixed=fixed,
        images=pictures,
        targets=ViewTargets(fixed, padded, logits=logits, weight=weight, features=features and features.array),
        unlabelled=np.arange(num_labelled, len(pictures)),
        num_features=features.array.shape[2] if features else 0,
        digest=hashlib.sha256("\n".join([fixed.describe(), *learnt]).encode()).hexdigest(),
    )


def _groups(run, pictures, rows):
    """int (N,): who may be blended with whom, None where nobody is.

    Whoever labels both has seen neither; what judges the student, and unlabelled pictures, stay apart.
    """
    section, dataset = run.config.student, pictures.parts[0]
    if not section.blended_views:
        return None
    out_of_fold = section.labels_views and section.views_by == "folds"
    groups = 2 * _folds(run, dataset) if out_of_fold else np.zeros(len(dataset), np.int64)
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


class Features(nn.Module):
    """A classifier's pooled features: (B, 3, S, S) -> (B, C)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.features(images)


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
        self.features, self.heads = Features(models[0]), MeanOf([model.head for model in models])

    def forward(self, images):
        return self.heads(self.features(images))


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


def _stored_logits(run, fixed, pictures, features):
    """The array (N, V, K); features: the `StoredFeatures` of the same views, None where there are none."""
    dataset, path = pictures.parts[0], _beside_teacher(run).views
    asked, preprocessing, who = labellers(run, dataset, len(pictures))
    mark = f"{pictures.seen}, {fixed.describe()}, {preprocessing}, {who}"
    backbones = {_before_the_head(model) for part in asked for model in part.models}
    # They differ in their heads alone, and what these take of just such pictures is there.
    if features and (backbones, preprocessing) == ({features.backbone}, features.preprocessing):
        questions = [(MeanOf([model.head for model in part.models]), part.rows) for part in asked]
        prepare = partial(OfFeatures, features.array, run.device)
    else:
        together = HeadsOf if len(backbones) == 1 else MeanOf
        questions = [(together(part.models), part.rows) for part in asked]
        prepare = partial(OfPixels, run, fixed, preprocessing)
    return fill(path, len(dataset.classes), fixed, mark, questions, prepare)


def _before_the_head(model):
    """Equal for models that make the same features of a picture."""
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
    return f"backbone {state_digest(state)} with {type(model.pool).__name__}"


@dataclass(frozen=True)
class StoredFeatures:
    array: np.ndarray  # float16 (N, V, C)
    backbone: str  # what `_before_the_head` says of the model that they are of
    preprocessing: Preprocessing  # of the pictures that it looked at


def _stored_features(run, fixed, pictures):
    """Pooled features of the teacher's backbone as it was loaded: it has learnt nothing of these labels, so nothing leaks."""
    section = run.config.teacher
    if section.weights == "none":
        raise UserError("student.feature_weight: a backbone with teacher.weights=none has no features to teach. Take imagenet.")
    model, preprocessing = new_model(run, section, len(pictures.parts[0].classes)).eval(), preprocessing_of(section)
    if model.num_features > HIDDEN_UNITS:
        raise UserError(
            f"student.feature_weight: {section.backbone} has {model.num_features} features, and the student's hidden layer "
            f"{HIDDEN_UNITS} units. Take a smaller teacher.backbone."
        )
    backbone = _before_the_head(model)
    mark = f"{pictures.seen}, {fixed.describe()}, {preprocessing}, {backbone}"
    questions = [(Features(model), np.arange(len(pictures)))]
    prepare = partial(OfPixels, run, fixed, preprocessing)
    path = cache_folder(run) / f"views_{re.sub(r'[^-.0-9A-Z_a-z]', '-', section.backbone)}_{section.image_size}.npy"
    array = fill(path, model.num_features, fixed, mark, questions, prepare)
    return StoredFeatures(array, backbone, preprocessing)
