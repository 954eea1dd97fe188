"""What is stored of fixed views of the pictures: a teacher's logits, beside its oof.csv, and pooled features, beside the pixels.

Both are float16 (N, V, columns), made once, part after part, by all processes together. Their records say of which pictures, views
and networks they are; for others they are made again.
"""

import hashlib
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from common.arrays import ArrayInParts, digest_of, open_array
from common.errors import UserError
from common.files import exclusive, sha256
from data.dataset import ImageDataset
from data.fixed_views import FixedViews
from data.preprocessing import Preprocessing
from data.targets import held_out_folds
from data.view_targets import ViewTargets
from data.views import to_device
from deploy.engines import OpenVinoQueue
from models.heads import HIDDEN_UNITS
from recipe.pictures import cache_folder, open_training, open_unlabelled, preprocessing_of
from recipe.saved_model import load_teacher, new_model
from utils import distributed
from utils.checkpoints import state_digest
from utils.precision import Precision
from utils.runlog import log

SEED = 42  # of the views, whatever the run's: they are data, and students of several seeds share them
PART = 256  # pictures whose views are kept together: what a killed run loses of one network's work at most
BATCH = 16  # views that a network looks at together
TOLERANCE = 1e-3  # of the largest output, between OpenVINO's answers and PyTorch's: what float16 keeps


@dataclass(frozen=True)
class StoredViews:
    """Fixed views of the pictures, labelled and then unlabelled ones, as a student learns from them."""

    fixed: FixedViews
    images: object  # images[row] is the square uint8 (R, R, 3) of a picture
    targets: ViewTargets
    unlabelled: np.ndarray  # int64 (U,), numbers of the unlabelled pictures
    num_features: int  # how many features stand behind the classes in the targets
    digest: str  # SHA-256 of what says which views and networks those targets are of


@dataclass(frozen=True)
class Pictures:
    """Labelled and unlabelled pictures in a row, as one teacher or student sees them."""

    parts: tuple[ImageDataset, ...]

    def __getitem__(self, row):
        for part in self.parts:
            if row < len(part):
                return part.images[row]
            row -= len(part)
        raise IndexError(row)

    def __len__(self):
        return sum(len(part) for part in self.parts)

    @property
    def shape(self):
        """(N, R, R, 3), as of the images."""
        return (len(self), *self.parts[0].images.shape[1:])

    @property
    def paths(self):
        """Of labelled pictures as they are; of unlabelled ones after a bar, which no such path begins with."""
        return tuple("/" * number + path for number, part in enumerate(self.parts) for path in part.paths)

    @property
    def fingerprint(self):
        return " ".join(part.fingerprint for part in self.parts)


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
    mark = f"{pictures.fingerprint}, {fixed.describe()}, {preprocessing}, {who}"
    backbones = {_before_the_head(model) for part in asked for model in part.models}
    # They differ in their heads alone, and what these take of just such pictures is there.
    if features and (backbones, preprocessing) == ({features.backbone}, features.preprocessing):
        questions = [(MeanOf([model.head for model in part.models]), part.rows) for part in asked]
        prepare = partial(_OfFeatures, features.array, run.device)
    else:
        together = HeadsOf if len(backbones) == 1 else MeanOf
        questions = [(together(part.models), part.rows) for part in asked]
        prepare = partial(_OfPixels, run, fixed, preprocessing)
    return _filled(path, len(dataset.classes), fixed, mark, questions, prepare)


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
    mark = f"{pictures.fingerprint}, {fixed.describe()}, {preprocessing}, {backbone}"
    questions = [(Features(model), np.arange(len(pictures)))]
    prepare = partial(_OfPixels, run, fixed, preprocessing)
    path = cache_folder(run) / f"views_{re.sub(r'[^-.0-9A-Z_a-z]', '-', section.backbone)}_{section.image_size}.npy"
    array = _filled(path, model.num_features, fixed, mark, questions, prepare)
    return StoredFeatures(array, backbone, preprocessing)


# The store


def _filled(path, columns, fixed, mark, questions, prepare):
    """The array float16 (N, V, columns) at `path`, made if need be, by all processes; mark: text that says what it is of.

    questions: [(module, numbers of the pictures that it is asked about)]. prepare() gives what answers them, on every process:
    `answer(module, rows)` is float (rows x V, columns). Other runs that want the same wait for it.
    """
    array = open_array(path, mark)
    if distributed.said_by_main(array is not None):
        return _reopened(path, mark) if array is None else array
    with ExitStack() as lock:
        distributed.on_main(lambda: lock.enter_context(exclusive(path)))
        if not distributed.said_by_main(open_array(path, mark) is not None):
            _make(path, columns, fixed, mark, questions, prepare())
        array = _reopened(path, mark)
        distributed.barrier()  # nobody else may make it otherwise before all have it
    return array


def _reopened(path, mark):
    array = open_array(path, mark)
    if array is None:
        raise UserError(f"{path}: was there and is not any more, or not seen by this machine. Run the same command again.")
    return array


def _make(path, columns, fixed, mark, questions, answer):
    chunks = [(module, rows[i : i + PART]) for module, rows in questions for i in range(0, len(rows), PART)]
    shape = (len(fixed.paths), fixed.count, columns)
    store = ArrayInParts(path, np.float16, shape, [rows for _, rows in chunks], mark)
    missing = distributed.said_by_main(store.missing())
    start, views = time.perf_counter(), sum(len(chunks[number][1]) for number in missing) * fixed.count
    mine, on_bar = missing[distributed.rank() :: distributed.world_size()], None if distributed.is_main() else True
    with tqdm(total=views // distributed.world_size(), desc=path.name, leave=False, disable=on_bar) as bar:
        for number in mine:
            module, rows = chunks[number]
            store.write(number, answer(module, rows).reshape(len(rows), *shape[1:]))
            bar.update(len(rows) * fixed.count)
    distributed.barrier()
    distributed.on_main(store.join)
    if distributed.is_main():
        log.info(f"{path}: {len(fixed)} views, {views} of them looked at now, in {time.perf_counter() - start:.0f} s")


class _OfFeatures:
    """Answers of modules that take the stored features (N, V, C) of views."""

    def __init__(self, features, device):
        self.features, self.device = features, device

    def __call__(self, module, rows):
        x = torch.from_numpy(self.features[rows].astype(np.float32)).flatten(0, 1).to(self.device)
        with torch.inference_mode():
            return module(x).float().cpu().numpy()


class _OfPixels:
    """Answers of networks that look at the views: on a CPU through OpenVINO, if that answers as PyTorch does; else by that."""

    def __init__(self, run, fixed, preprocessing):
        self.fixed, self.preprocessing, self.device = fixed, preprocessing, run.device
        parts = (open_training(run, preprocessing), open_unlabelled(run, preprocessing))
        self.squares = Pictures(tuple(part for part in parts if part is not None))
        self.network = self.queue = None

    def __call__(self, network, rows):
        if network is not self.network:
            self._take(network)
        indices = (rows[:, None] * self.fixed.count + np.arange(self.fixed.count)).ravel()
        batches = (indices[i : i + BATCH] for i in range(0, len(indices), BATCH))
        cuts = (self.fixed.cut(self.squares, batch, self.preprocessing.image_size) for batch in batches)
        if self.queue:
            return np.concatenate(self.queue(map(self.preprocessing.network_input, cuts)))
        return np.concatenate([self._by_torch(cut) for cut in cuts])

    def _take(self, network):
        self.network, self.queue = network.to(self.device).eval(), None
        if self.device.type == "cpu":
            sample = self.fixed.cut(self.squares, np.arange(BATCH) % len(self.fixed), self.preprocessing.image_size)
            inputs = self.preprocessing.network_input(sample)
            queue = OpenVinoQueue(self.network, inputs, torch.get_num_threads())
            (answers,), expected = queue([inputs]), self._by_torch(sample)
            difference = np.abs(answers - expected).max() / max(1.0, np.abs(expected).max())
            if difference <= TOLERANCE:
                self.queue = queue
            else:
                log.warning(f"OpenVINO answers otherwise than PyTorch (by {difference:.1e}), so PyTorch looks at the views, slower")

    def _by_torch(self, pixels):
        with torch.inference_mode(), Precision("auto", self.device).autocast():
            return self.network(self.preprocessing.normalise(to_device(pixels, self.device))).float().cpu().numpy()
