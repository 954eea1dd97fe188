"""The steps of a training that teacher and student share, from config values to plain calls."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from common.errors import UserError
from common.files import sha256
from data.batches import EvalBatches, TrainBatches
from data.dataset import ImageDataset
from data.features import FeatureBatches, open_features, write_features
from data.mixing import build_mixing, no_mixing
from data.samplers import BalanceClassSampler, BothSamplers, ShuffleSampler
from data.views import TrainView
from models import check_model
from models.heads import ARCFACE_SCALE
from recipe.pictures import preprocessing_of
from recipe.saved_model import checkpoint_meta, load_model, load_teacher
from recipe.stored_views import StoredViews
from utils import distributed
from utils.averaging import average_checkpoints
from utils.checkpoints import save_checkpoint, state_digest
from utils.config import FORMATS_BEFORE, TrainConfig, as_plain, as_python
from utils.distillation import Teacher
from utils.ema import MovingAverage
from utils.engine import Checkpoints, fit, predict
from utils.losses import build_loss
from utils.metrics import accuracy
from utils.objective import plain, with_margin, with_teachers
from utils.optimizers import build_optimizer
from utils.precision import Precision
from utils.run_folder import TrainingFolder
from utils.schedules import SCHEDULES, constant, cosine, in_equal_shares
from utils.session import Session


@dataclass(frozen=True)
class Training:
    """One training: its section of the config, its pictures, who teaches it, and the folder that it fills."""

    run: Session
    section: TrainConfig
    dataset: ImageDataset
    folder: TrainingFolder
    measured_on: str  # which held-out pictures judge it, in words
    teachers: tuple[Teacher, ...] = ()  # in the loop
    stored: StoredViews | None = None  # what it learns from instead of whole pictures' labels

    @property
    def seed(self):
        return self.run.config.seed

    @property
    def device(self):
        return self.run.device

    @property
    def preprocessing(self):
        return preprocessing_of(self.section)

    @property
    def meta(self):
        return checkpoint_meta(self.section, self.dataset, self.measured_on)

    @property
    def digest(self):
        """SHA-256, as hex, of the settings: folds that were given out one by one must have the same."""
        now = settings(self.run, self.section, self.dataset)
        text = json.dumps({key: now[key] for key in now if (key, now[key]) not in FORMATS_BEFORE.items()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def judged_by(self, measured_on):
        """The same training, with other words for what its accuracy is of."""
        return replace(self, measured_on=measured_on)

    def precision(self):
        return Precision(self.section.precision, self.device, clip_grad_norm=self.section.clip_grad_norm)


def settings(run, section, dataset, **more):
    """What must not change when a training is resumed: its section of the config, the seed, the data and what else it was given.

    Where files came from does not count; what is in them does, and stands in `more` as a hash. A control may be asked for later.
    """
    elsewhere = ("oof", "views_by", "online_teachers", "control")
    values = {key: value for key, value in as_plain(section).items() if key not in elsewhere}
    pictures = {"fingerprint": dataset.fingerprint, "classes": list(dataset.classes), "cache_format": dataset.cache_format}
    return {**values, "seed": run.config.seed, **pictures, **more}


def claim(run, stage, settings):
    """Claim the folder of `stage` (see `RunFolder.claim`), once all processes are known to have the same `settings`."""
    distributed.check_same(settings, f"what the {stage} is made with", "Give all machines the same tables and checkpoints.")
    distributed.on_main(lambda: run.folder.claim(stage, settings, as_python(run.config)))


def train_batches(training, rows, targets, *, final=False):
    """Augmented batches of the images number `rows`; `targets` (N, K) cover the whole data set.

    With stored views their own targets take the place of these, and the unlabelled pictures come in addition.
    final: for the second stage, which mixes nothing and goes on at the size that the first one ended with.
    """
    section, stored, world = training.section, training.stored, distributed.world_size()
    if section.batch_size % world or section.batch_size < 2 * world:
        raise UserError(
            f"batch_size={section.batch_size} cannot be split over {world} processes evenly, two images each at least. "
            f"Use a multiple of {world}."
        )
    seed = training.seed + final  # other draws than those of the first stage's first epochs
    sizes = section.train_sizes or (section.image_size,)
    view = TrainView(
        training.preprocessing, section.augmentation, backend=section.augmentation_backend,
        size_at=in_equal_shares(sizes[-1:] if final else sizes, section.epochs),
        fixed=stored and stored.fixed, jitter=section.view_jitter if stored else 0.0,
    )  # fmt: skip
    images, sampler = training.dataset.images, _sampler(training, rows, seed)
    if stored:
        images, targets, rows = stored.images, stored.targets, np.concatenate([rows, stored.unlabelled])
    mixing = no_mixing if final else build_mixing(section.mixing, section.mixing_alpha, section.mixing_prob)
    return TrainBatches(
        images, targets, sampler, rows=rows, batch_size=section.batch_size // world,
        view=view, mixing=mixing, seed=seed, rank=distributed.rank(), device=training.device,
    )  # fmt: skip


def _sampler(training, rows, seed):
    shard = {"seed": seed, "rank": distributed.rank(), "num_replicas": distributed.world_size()}
    stored = training.stored
    if training.section.sampler == "balanced":
        sampler = BalanceClassSampler(training.dataset.labels[rows], mode=training.section.sampler_mode, **shard)
    else:
        sampler = ShuffleSampler(len(rows), **shard)
    _check_enough(sampler, len(rows))
    if stored and len(stored.unlabelled):
        sampler = BothSamplers(sampler, ShuffleSampler(len(stored.unlabelled), **shard), offset=len(rows), seed=seed)
    return sampler


def _check_enough(sampler, num_rows):
    if len(sampler) < 2:
        raise UserError(
            f"{num_rows} pictures to train on are too few for {distributed.world_size()} processes: each needs two at least. "
            "Start fewer processes, or add pictures."
        )


def predict_rows(training, model, dataset, rows, features_path=None):
    """Probabilities (len(rows), K) of the images number `rows` of `dataset`, computed by all processes together.

    With `flip_test` they are the mean of those for the picture and for its mirror image. features_path: where the features of
    `dataset` are kept; where the head alone was trained, it is asked about these, which the models of all folds share.
    """
    share = np.asarray(rows)[distributed.rank() :: distributed.world_size()]
    probs = np.empty((0, len(dataset.classes)), np.float32)
    if features_path and not training.section.epochs:
        views = frozen_features(training, model, dataset, features_path)[: 1 + training.section.flip_test, share]
        if len(share):
            probs = np.mean([predict(model.head, [torch.from_numpy(view).to(training.device)]) for view in views], axis=0)
    elif len(share):  # there may be more processes than pictures
        batches, precision = eval_batches(training, dataset, share), training.precision()
        probs = predict(model, batches, precision)
        if training.section.flip_test:
            probs = (probs + predict(model, (images.flip(3) for images in batches), precision)) / 2
    return distributed.gather_rows(probs)


def eval_batches(training, dataset, rows):
    """Normalised, centre-cropped images number `rows`, in that order."""
    batch_size = min(256, training.section.batch_size)
    return EvalBatches(dataset.images, rows, batch_size=batch_size, preprocessing=training.preprocessing, device=training.device)


def evaluator(training, held_out, features_path=None):
    """model -> (probs, labels) on a `recipe.pictures.HeldOut`, for `fit`."""
    return lambda model: (predict_rows(training, model, held_out.dataset, held_out.rows, features_path), held_out.labels)


def objective(section, growing_steps=0, teachers=()):
    """The objective that `section` describes; the head `arcface` gets its margin, all of it after `growing_steps`."""
    loss = build_loss(section.loss, focal_alpha=section.focal_alpha, focal_gamma=section.focal_gamma, ohem_share=section.ohem_share)
    result = plain(loss)
    if section.head == "arcface":
        result = with_margin(result, growing_steps, scale=ARCFACE_SCALE)
    if teachers:
        result = with_teachers(result, teachers, weight=section.online_weight, temperature=section.temperature)
    return result


def train_head(training, model, rows, targets, features_path):
    """The first, gentle stage: the head alone on features of the backbone as it was loaded, `head_epochs` epochs.

    The features are the same for every fold, so they are computed once and kept at `features_path`.
    """
    section, world = training.section, distributed.world_size()
    features = frozen_features(training, model, training.dataset, features_path)
    sampler = ShuffleSampler(len(rows), seed=training.seed, rank=distributed.rank(), num_replicas=world)
    _check_enough(sampler, len(rows))
    batch_size = max(2, min(64, section.batch_size) // world)
    batches = FeatureBatches(
        features, targets, sampler, rows=rows, batch_size=batch_size, seed=training.seed, device=training.device
    )  # fmt: skip
    optimizer = build_optimizer(section.optimizer, [(model.head, 1.0)], lr=section.head_lr, weight_decay=section.weight_decay)
    num_steps = section.head_epochs * len(batches)
    fit(
        model.head, batches, optimizer, cosine(section.head_lr, num_steps),
        objective(section, num_steps),  # without teachers, who look at images
        epochs=section.head_epochs, precision=Precision("fp32", training.device),
        checkpoints=Checkpoints(training.folder.head, meta={}),
    )  # fmt: skip


def frozen_features(training, model, dataset, path):
    """Pooled features (2, N, C) of the model's backbone, for the pictures and their mirror images, kept at `path`."""

    def compute(view):
        share = np.arange(len(dataset))[distributed.rank() :: distributed.world_size()]
        part = np.empty((0, model.num_features), np.float32)
        if len(share):
            batches = eval_batches(training, dataset, share)
            with torch.inference_mode(), training.precision().autocast():
                parts = [model.features(x.flip(3) if view else x).float().cpu().numpy() for x in batches]
            part = np.concatenate(parts)
        return distributed.gather_rows(part)

    model.eval()
    shape, pooled = (2, len(dataset), model.num_features), {**model.backbone.state_dict(), **model.pool.state_dict(prefix="pool.")}
    mark = f"{dataset.seen} {state_digest(pooled)} {training.preprocessing}"
    features = open_features(path, shape, mark)
    if not distributed.said_by_main(features is not None):
        if distributed.is_main():
            features = write_features(path, compute, shape, mark)
        else:
            for view in range(shape[0]):
                compute(view)
        distributed.barrier()
    return open_features(path, shape, mark) if features is None else features


def train_model(training, model, batches, evaluate):
    """All stages' main one: fine-tune or train from scratch with the recipe's schedule; returns the history."""
    section = training.section
    if not section.epochs:
        return _keep(training, model, evaluate)
    model.freeze(section.frozen_stages, batchnorm=section.frozen_batchnorm)
    modules = [(model.backbone, section.backbone_lr_scale), (model.pool, 1.0), (model.head, 1.0)]
    optimizer = build_optimizer(section.optimizer, modules, lr=section.lr, weight_decay=section.weight_decay)
    num_steps = section.epochs * len(batches)
    if section.bn_momentum is None:
        model.let_statistics_keep_up(num_steps)
    minimised = objective(section, 0 if section.head_epochs else num_steps, training.teachers)
    return fit(
        model, batches, optimizer, SCHEDULES[section.schedule](section.lr, num_steps, section.warmup_steps), minimised,
        epochs=section.epochs, precision=training.precision(), evaluate=evaluate,
        checkpoints=Checkpoints(training.folder.last, training.meta, best=training.folder.best),
        ema=MovingAverage(model, section.ema_decay) if section.ema_decay else None,
    )  # fmt: skip


def _keep(training, model, evaluate):
    """Judge the model as the head stage left it, and keep it as the best."""
    reached = accuracy(*evaluate(model))
    if distributed.is_main():
        save_checkpoint(training.folder.best, model.state_dict(), {**training.meta, "epoch": 0, "accuracy": reached})
    distributed.barrier()
    return []


def train_final_epochs(training, batches):
    """The second stage: from the best checkpoint a few epochs at a tiny constant rate, whose mean is kept as the student."""
    section, folder = training.section, training.folder
    model = load_model(folder.best, training.device).model
    model.freeze(section.frozen_stages, batchnorm=section.frozen_batchnorm)
    optimizer = build_optimizer(section.optimizer, [(model, 1.0)], lr=section.final_lr, weight_decay=section.weight_decay)
    fit(
        model, batches, optimizer, constant(section.final_lr), objective(section, teachers=training.teachers),
        epochs=section.final_epochs, precision=training.precision(),
        checkpoints=Checkpoints(folder.final_last, training.meta, each=folder.final),
    )  # fmt: skip
    if distributed.is_main():
        average_checkpoints([folder.final(epoch + 1) for epoch in range(section.final_epochs)], folder.averaged)
    distributed.barrier()
    if section.reestimate_batchnorm:
        _reestimate_statistics(training, batches)


def _reestimate_statistics(training, batches):
    """Give the averaged checkpoint BatchNorm statistics of its own, from one epoch of training batches."""
    saved = load_model(training.folder.averaged, training.device)
    update_bn((images for images, _ in batches.epoch(0)), saved.model)
    if distributed.is_main():
        save_checkpoint(training.folder.averaged, saved.model.state_dict(), saved.meta)
    distributed.barrier()


def load_teachers(run, section, dataset):
    """(teachers in the loop, SHA-256 of their checkpoints) as the section asks for; UserError for one of other classes."""
    if section.distillation not in ("online", "both"):
        return (), []
    try:
        paths = section.online_teachers or run.folder.teachers()
    except UserError as error:
        raise UserError(
            f"distillation='{section.distillation}' needs teachers. {error} Or name them: "
            "student.online_teachers=[runs/x/teacher/fold0/best.pth]."
        ) from error
    return tuple(_teacher_in_the_loop(path, section, dataset, run.device) for path in paths), [sha256(path) for path in paths]


def _teacher_in_the_loop(path, section, dataset, device):
    saved, ours = load_teacher(path, section, dataset, device), preprocessing_of(section)
    return Teacher(saved.model, saved.preprocessing.image_size, partial(saved.preprocessing.renormalise, other=ours))


def check_section(run, section):
    """Is there everything that the section names, and can this machine do it? UserError before any picture is read."""
    check_names(section)
    Precision(section.precision, run.device)


def check_names(section):
    """UserError where there is none of what the section names, on any machine."""
    check_model(section.backbone, section.head, section.pooling)
    build_mixing(section.mixing, section.mixing_alpha, section.mixing_prob)
    build_loss(section.loss)
    TrainView(
        preprocessing_of(section), section.augmentation, backend=section.augmentation_backend, fixed=section.labels_views or None
    )  # fmt: skip
    BalanceClassSampler([0, 1], mode=section.sampler_mode)
    build_optimizer(section.optimizer, [(torch.nn.Linear(1, 1), 1.0)], lr=1.0)
