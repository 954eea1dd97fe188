"""The steps of a training that teacher and student share, from config values to plain calls.

`train` is a section of the config (`utils.config.TrainConfig`), `run` the session that the script started.
"""

from pathlib import Path

import numpy as np
import torch

from common.errors import UserError
from common.files import sha256
from data.batches import EvalBatches, TrainBatches
from data.dataset import open_dataset, shared_contents
from data.features import FeatureBatches, cached_features
from data.folds import assign_folds
from data.mixing import build_mixing, no_mixing
from data.samplers import BalanceClassSampler, ShuffleSampler
from data.textiles import write_textiles
from models import build_model
from models.heads import ARCFACE_SCALE
from utils import distributed
from utils.averaging import reestimate_batchnorm
from utils.checkpoints import load_checkpoint, save_checkpoint
from utils.config import as_plain
from utils.distillation import OnlineTeachers, Teacher
from utils.ema import MovingAverage
from utils.engine import fit, predict
from utils.losses import always, build_loss, growing_margin
from utils.optimizers import build_optimizer
from utils.precision import Precision
from utils.runlog import code_version, log
from utils.schedules import SCHEDULES, constant, cosine, in_equal_shares


def open_data(run, train):
    """The pictures of `data.root` and, or None, of `data.val_root`, cached at the size that `train` asks for."""
    data, size = run.config.data, train.resize or train.image_size
    if size < train.image_size:
        raise UserError(f"resize={train.resize} is smaller than image_size={train.image_size}; it is the size before the crop.")
    if data.draw_textiles:
        distributed.main_first(lambda: write_textiles(Path(data.root).parent, num_train=data.draw_textiles, seed=run.config.seed))
    folder = Path(data.cache) if data.cache else run.folder
    dataset = distributed.main_first(lambda: open_dataset(data.root, folder, size, classes=data.classes, fit=train.fit))
    if data.val_root is None:
        return dataset, None
    validation = distributed.main_first(
        lambda: open_dataset(data.val_root, folder, size, classes=dataset.classes, name="validation", fit=train.fit)
    )
    for ours, theirs in shared_contents(dataset, validation)[:5]:
        log.info(f"warning: the validation picture {theirs!r} is also in the training data ({ours!r}): its accuracy is flattered")
    return dataset, validation


def student_split(run, dataset, validation):
    """Rows to train on, and (data set, rows) held out: the validation pictures, or one fold where there are none."""
    if validation is not None:
        return np.arange(len(dataset)), (validation, np.arange(len(validation)))
    folds = assign_folds(dataset.table, run.config.student.num_folds, run.config.seed)
    return np.flatnonzero(folds != run.config.student.fold), (dataset, np.flatnonzero(folds == run.config.student.fold))


def validation_files(run):
    """(paths, class names) of the pictures that the student was not trained on, as files."""
    dataset, validation = open_data(run, run.config.student)
    held_out, rows = student_split(run, dataset, validation)[1]
    root = Path(run.config.data.root if validation is None else run.config.data.val_root)
    part = held_out.table.iloc[rows]
    return [root / path for path in part["path"]], part["label"].tolist()


def final_checkpoint(run):
    """Name of the student that ships: the averaged one where there is a second stage."""
    return "averaged" if run.config.student.final_epochs else "best"


def new_model(run, train, num_classes):
    """The model that `train` describes, its weights loaded or drawn from the run's seed, in channels-last memory."""
    torch.manual_seed(run.config.seed)
    model = build_model(**model_arguments(train, num_classes), weights=train.weights)
    return model.to(run.device, memory_format=torch.channels_last)


def model_arguments(train, num_classes):
    """The arguments of `build_model` that a checkpoint needs to be rebuilt."""
    return {
        "name": train.backbone,
        "num_classes": num_classes,
        "head": train.head,
        "pooling": train.pooling,
        "image_size": train.image_size,
        "dropout": train.dropout,
        "bn_momentum": train.bn_momentum,
    }


def load_model(path, device="cpu"):
    """(model in eval mode, meta) of a checkpoint file."""
    saved = load_checkpoint(path, device)
    model = build_model(**saved["meta"]["model"])
    model.load_state_dict(saved["model"])
    return model.to(device, memory_format=torch.channels_last).eval(), saved["meta"]


def checkpoint_meta(train, dataset):
    """What every checkpoint says of itself."""
    return {
        "model": model_arguments(train, len(dataset.classes)),
        "classes": list(dataset.classes),
        "fingerprint": dataset.fingerprint,
        "preprocessing": {
            "image_size": train.image_size,
            "resize": train.resize or train.image_size,
            "fit": train.fit,
            "mean": [train.mean] * 3,
            "std": [train.std] * 3,
        },
        "config": as_plain(train),
        "code_version": code_version(),
    }


def training_settings(run, train, dataset):
    """What must not change when a training is resumed: its section of the config, the seed and the data."""
    return {**as_plain(train), "seed": run.config.seed, "fingerprint": dataset.fingerprint, "classes": list(dataset.classes)}


def make_train_batches(run, train, dataset, rows, targets, *, final=False):
    """Augmented batches of the images number `rows`; `targets` (N, K) cover the whole data set.

    final: for the second stage, which mixes nothing and goes on at the size that the first one ended with.
    """
    world, seed = distributed.world_size(), run.config.seed
    if train.batch_size % world:
        raise UserError(f"batch_size={train.batch_size} cannot be split over {world} processes evenly. Use a multiple of {world}.")
    shard = {"seed": seed, "rank": distributed.rank(), "num_replicas": world}
    if train.sampler == "balanced":
        sampler = BalanceClassSampler(dataset.labels[rows], mode=train.sampler_mode, **shard)
    else:
        sampler = ShuffleSampler(len(rows), **shard)
    sizes = train.train_sizes or (train.image_size,)
    return TrainBatches(
        dataset.images,
        targets,
        sampler,
        rows=rows,
        batch_size=train.batch_size // world,
        size=train.image_size,
        mean=train.mean,
        std=train.std,
        augmentation=train.augmentation,
        backend=train.augmentation_backend,
        mixing=no_mixing if final else build_mixing(train.mixing, train.mixing_alpha, train.mixing_prob),
        size_at=in_equal_shares(sizes[-1:] if final else sizes, train.epochs),
        seed=seed,
        rank=distributed.rank(),
        device=run.device,
    )


def predict_rows(run, train, model, dataset, rows):
    """Probabilities (len(rows), K) of the images number `rows`, computed by all processes together.

    With `train.flip_test` they are the mean of those for the picture and for its mirror image.
    """
    precision = Precision(train.precision, run.device)
    share = np.asarray(rows)[distributed.rank() :: distributed.world_size()]
    batches = eval_batches(run, train, dataset, share)
    probs = predict(model, batches, precision)
    if train.flip_test:
        probs = (probs + predict(model, (images.flip(3) for images in batches), precision)) / 2
    return distributed.gather_rows(probs)


def eval_batches(run, train, dataset, rows):
    """Normalised, centre-cropped images number `rows`, in that order."""
    return EvalBatches(
        dataset.images,
        rows,
        batch_size=min(256, train.batch_size),
        size=train.image_size,
        mean=train.mean,
        std=train.std,
        device=run.device,
    )


def evaluator(run, train, dataset, rows):
    """model -> (probs, labels) on the images number `rows`, for `fit`."""
    return lambda model: (predict_rows(run, train, model, dataset, rows), dataset.labels[rows])


def loss_schedule(train, growing_steps=0):
    """step -> the loss that `train` describes; the head `arcface` gets its angular margin, all of it after `growing_steps`."""
    loss = build_loss(train.loss, focal_alpha=train.focal_alpha, focal_gamma=train.focal_gamma, ohem_share=train.ohem_share)
    if train.head == "arcface":
        return growing_margin(loss, growing_steps, scale=ARCFACE_SCALE)
    return always(loss)


def frozen_features(run, train, model, dataset, path):
    """Pooled features (2, N, C) of the model's backbone as it was loaded, for the pictures and their mirror images.

    They are the same for every fold, so they are computed once (by the main process) and kept at `path`.
    """

    def compute(view):
        model.eval()
        batches, precision = eval_batches(run, train, dataset, np.arange(len(dataset))), Precision(train.precision, run.device)
        with torch.inference_mode(), precision.autocast():
            return np.concatenate([model.features(x.flip(3) if view else x).float().cpu().numpy() for x in batches])

    shape = (2, len(dataset), model.num_features)
    return distributed.main_first(lambda: cached_features(path, compute, shape))


def train_head(run, train, model, features, rows, targets, folder):
    """The first, gentle stage: the head alone on the frozen backbone's `features` (V, N, C), `train.head_epochs` epochs."""
    world = distributed.world_size()
    sampler = ShuffleSampler(len(rows), seed=run.config.seed, rank=distributed.rank(), num_replicas=world)
    batches = FeatureBatches(
        features, targets, sampler, rows=rows, batch_size=min(64, train.batch_size), seed=run.config.seed, device=run.device
    )
    optimizer = build_optimizer(train.optimizer, [(model.head, 1.0)], lr=train.head_lr, weight_decay=train.weight_decay)
    num_steps = train.head_epochs * len(batches)
    fit(
        model.head, batches, optimizer, cosine(train.head_lr, num_steps), epochs=train.head_epochs,
        precision=Precision("fp32", run.device), loss_at=loss_schedule(train, num_steps), seed=run.config.seed,
        folder=folder, meta={}, last_name="head.pth",
    )  # fmt: skip


def online_teachers(run, train, dataset):
    """(`OnlineTeachers` or None, SHA-256 of their checkpoints) as `train` asks for; UserError for one of other classes."""
    if train.distillation not in ("online", "both"):
        return None, []
    paths = train.online_teachers or sorted(map(str, run.folder.glob("teacher/fold*/best.pth")))
    if not paths:
        raise UserError(
            f"distillation='{train.distillation}' needs teachers, and {run.folder}/teacher has none. Run e4.py first, "
            "or name them: student.online_teachers=[runs/x/teacher/fold0/best.pth]."
        )
    teachers = []
    for path in paths:
        model, meta = load_model(path, run.device)
        if meta["classes"] != list(dataset.classes):
            raise UserError(f"{path}: a teacher of other classes: it knows {meta['classes']}, the data {list(dataset.classes)}.")
        theirs = meta["preprocessing"]
        if theirs.get("fit", "stretch") != train.fit:
            raise UserError(f"{path}: this teacher knows pictures with fit='{theirs.get('fit', 'stretch')}', not '{train.fit}'.")
        mean, std = theirs["mean"][0], theirs["std"][0]
        teachers.append(Teacher(model, theirs["image_size"], scale=train.std / std, offset=(train.mean - mean) / std))
    return OnlineTeachers(teachers, train.online_weight, train.temperature), [sha256(path) for path in paths]


def train_model(run, train, model, batches, evaluate, folder, meta, teachers=None):
    """All stages' main one: fine-tune or train from scratch with the recipe's schedule; returns the history."""
    model.freeze(train.frozen_stages, batchnorm=train.frozen_batchnorm)
    modules = [(model.backbone, train.backbone_lr_scale), (model.pool, 1.0), (model.head, 1.0)]
    optimizer = build_optimizer(train.optimizer, modules, lr=train.lr, weight_decay=train.weight_decay)
    num_steps = train.epochs * len(batches)
    if train.bn_momentum is None:
        model.let_statistics_keep_up(num_steps)
    lr_at = SCHEDULES[train.schedule](train.lr, num_steps, train.warmup_steps)
    precision = Precision(train.precision, run.device, clip_grad_norm=train.clip_grad_norm)
    loss_at = loss_schedule(train, 0 if train.head_epochs else num_steps)
    ema = MovingAverage(model, train.ema_decay) if train.ema_decay else None
    return fit(
        model, batches, optimizer, lr_at, epochs=train.epochs, precision=precision, loss_at=loss_at, seed=run.config.seed,
        folder=folder, meta=meta, evaluate=evaluate, ema=ema, teachers=teachers,
    )  # fmt: skip


def train_final_epochs(run, train, batches, folder, meta, teachers=None):
    """The second stage: `final_epochs` at the constant `final_lr` from the best checkpoint; returns the names of their files."""
    model, _ = load_model(folder / "best.pth", run.device)
    model.freeze(train.frozen_stages, batchnorm=train.frozen_batchnorm)
    optimizer = build_optimizer(train.optimizer, [(model, 1.0)], lr=train.final_lr, weight_decay=train.weight_decay)
    precision = Precision(train.precision, run.device, clip_grad_norm=train.clip_grad_norm)
    fit(
        model, batches, optimizer, constant(train.final_lr), epochs=train.final_epochs, precision=precision,
        loss_at=loss_schedule(train), seed=run.config.seed + 1, teachers=teachers,
        folder=folder, meta=meta, last_name="final_last.pth", epoch_name="final_{}.pth",
    )  # fmt: skip
    return [f"final_{epoch + 1}.pth" for epoch in range(train.final_epochs)]


def reestimate_statistics(run, batches, path):
    """Give the checkpoint at `path` BatchNorm statistics of its own, from one epoch of training batches."""
    model, meta = load_model(path, run.device)
    reestimate_batchnorm(model, (images for images, _ in batches.epoch(0)))
    if distributed.is_main():
        save_checkpoint(path, model.state_dict(), meta)
    distributed.barrier()
