"""Configuration: frozen dataclasses whose defaults are the recipe, filled from an mmengine config file and the command line.

Every value stands here once, with its unit and its reason. A config file says only what differs.
"""

import dataclasses
import difflib
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Union, get_args, get_origin, get_type_hints

from mmengine.config import Config as FileConfig

from common.errors import UserError


@dataclass(frozen=True)
class DataConfig:
    root: str = "/home/data/14"  # folder of class folders
    classes: tuple[str, ...] | None = None  # fixed class order; None: the folder names, sorted
    val_root: str | None = None  # validation pictures in a folder of their own; None: a fold of `root`
    cache: str | None = None  # folder of index and pixel cache, which several runs may share; None: the run folder
    draw_textiles: int = 0  # first draw this many training pictures of the embedded textiles beside `root`


@dataclass(frozen=True)
class TrainConfig:
    """What teacher and student have in common. Each value is a default of the recipe unless a comment says otherwise."""

    backbone: str = "mobilenet_v3_small"  # a name from models/backbones.py, or of any convolutional network of timm
    weights: str = "imagenet"  # imagenet, none, or the path of a local file
    head: str = "linear"  # a name from models/heads.py
    pooling: str = "avg"  # a name from models/pooling.py
    dropout: float = 0.2  # before the last linear layer
    # Share of each new batch in the running BatchNorm statistics. None: the library's value, but in a run of few steps as much as
    # it takes (up to 0.1) for the statistics to be of the network at its end.
    bn_momentum: float | None = None
    image_size: int = 224  # network input, pixels
    resize: int | None = None  # pictures are resized to this square, then cropped to image_size; None: no crop
    fit: Literal["stretch", "pad"] = "stretch"  # into that square: proportions not kept; or kept, with grey beside the picture
    # Training images are made this small, in equal shares of the epochs: such as (80, 96, 112) for an image_size of 128. Small ones
    # train faster, and a part cut out at random shows things larger than the whole picture does. None: image_size.
    train_sizes: tuple[int, ...] | None = None
    mean: float = 0.5  # pixel / 255 - mean ...
    std: float = 1.0  # ... / std
    augmentation: str = "none"  # a name from data/augment.py
    augmentation_backend: Literal["auto", "batched", "albumentations"] = "auto"  # auto: batched where it can
    # A name from data/mixing.py; or dict(cutmix=2, mixup=1): for each batch one of them, drawn by weight. On the command line
    # student.mixing.cutmix=2 student.mixing.mixup=1, and student.mixing._delete_=true where the config file holds another value.
    mixing: str | dict[str, float] = "cutmix"
    # The next two: a number for every mixing, or by name, dict(mixup=0.2); the ones left out keep the recipe's.
    mixing_alpha: float | dict[str, float] = 1.0  # Beta(alpha, alpha) draws the share that is pasted or blended
    mixing_prob: float | dict[str, float] = 0.5  # share of the batches that are mixed; gridmask: of the images
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    # balanced: every class as often as the largest, as the smallest (downsampling), or a number of times; sqrt: each in proportion
    # to the square root of its size, as many images as there are.
    sampler_mode: str | int = "upsampling"
    num_folds: int = 5
    batch_size: int = 256  # images a step, over all processes
    epochs: int = 20
    optimizer: str = "radam"  # a name from utils/optimizers.py
    lr: float = 1e-3  # the highest rate of the schedule
    schedule: Literal["cosine", "onecycle", "constant"] = "cosine"  # to 0; up and down; no change. Stepped every batch
    backbone_lr_scale: float = 1.0  # backbone rate / head rate; below 1 for a gentle fine-tune
    weight_decay: float = 0.0
    warmup_steps: int = 0  # linear from 0; onecycle: steps until its peak, 0 for three tenths of the run
    clip_grad_norm: float = 0.0  # largest L2 norm of all gradients together, longer ones are shortened to it; 0: any
    ema_decay: float = 0.0  # such as 0.999: best.pth is judged and kept as a moving average of the weights; 0: none
    loss: str = "cross_entropy"  # a name from utils/losses.py
    focal_alpha: float = 0.25  # loss="focal": factor of the loss
    focal_gamma: float = 2.0  # loss="focal": how fast a class that is predicted well loses weight
    ohem_share: float = 0.7  # loss="ohem": share of the batch, the hardest, that is learnt from
    label_smoothing: float = 0.0
    head_epochs: int = 0  # epochs that train the head alone on the frozen backbone's features, before all else
    head_lr: float = 1e-3  # learning rate of those epochs
    frozen_stages: int = 0  # stages of the backbone, from the input, that stay as they were loaded
    frozen_batchnorm: bool = False  # keep the loaded BatchNorm statistics while fine-tuning
    flip_test: bool = False  # predictions are the mean of a picture's and its mirror image's
    precision: Literal["auto", "bf16", "fp16", "fp32", "apex"] = "auto"  # auto: bf16 or fp16 on a GPU, fp32 on a CPU


@dataclass(frozen=True)
class TeacherConfig(TrainConfig):
    backbone: str = "efficientnet_b1"
    head: str = "se_linear"
    dropout: float = 0.0
    image_size: int = 192
    augmentation: str = "teacher"
    batch_size: int = 160


@dataclass(frozen=True)
class StudentConfig(TrainConfig):
    head: str = "mlp1280"
    resize: int | None = 256
    std: float = 0.225
    augmentation: str = "student"
    sampler: Literal["shuffle", "balanced"] = "balanced"
    num_folds: int = 10
    fold: int = 0  # the fold held out for validation when there is no data.val_root
    # oof: the labels are blended with the teacher's OOF table; online: teachers look at every batch; both; none: labels alone
    distillation: Literal["oof", "online", "both", "none"] = "oof"
    oof: str | None = None  # the teacher's oof.csv; None: the one in the run folder
    teacher_weight: float = 0.2  # share of the teacher's OOF distribution in the labels; 0: hard labels, no teacher
    # Checkpoints of the teachers in the loop, such as runs/x/teacher/fold0/best.pth; (): those of all folds in the run folder.
    online_teachers: tuple[str, ...] = ()
    online_weight: float = 0.5  # share of the distance from them in the loss; 1: the labels do not matter
    temperature: float = 2.0  # of the teachers' and the student's distributions in that distance
    hard_oof: bool = False  # reduce the teacher's distribution to its arg-max, as the first implementation did
    final_epochs: int = 4  # second stage: epochs at final_lr on all images, whose checkpoints are averaged; 0: none
    final_lr: float = 1e-6
    reestimate_batchnorm: bool = False  # after averaging: forward passes instead of averaged statistics


@dataclass(frozen=True)
class StudyConfig:
    """What ablate.py varies; the other scripts do not look at it."""

    axes: tuple[str, ...] = ()  # as for --axis
    seeds: int = 3


@dataclass(frozen=True)
class RunConfig:
    name: str = "jishi"  # the run's folder below work_dir
    work_dir: str = "runs"
    seed: int = 42
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...
    num_threads: int = 0  # CPU threads; 0: all cores
    data: DataConfig = field(default_factory=DataConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    study: StudyConfig = field(default_factory=StudyConfig)

    @property
    def folder(self):
        """The run folder, runs/<name>."""
        return Path(self.work_dir, self.name)


def load_config(path, overrides=None):
    """The `RunConfig` in the Python file `path`, changed by `overrides` ({'student.lr': 0.002}).

    Raises UserError for a missing or broken file, an unknown key (naming the nearest) and a wrong type.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such config file. Ready-made ones lie in configs/.")
    try:
        values = FileConfig.fromfile(str(path), use_predefined_variables=False, import_custom_modules=False)
        values.merge_from_dict(overrides or {})
    except Exception as error:
        raise UserError(f"{path}: cannot be read as a config: {error}") from error
    return build_dataclass(RunConfig, values.to_dict())


def build_dataclass(cls, values, prefix=""):
    """An instance of the dataclass `cls` from nested dicts, every key and type checked."""
    hints = get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0.4)
            hint = f"Did you mean '{prefix}{near[0]}'?" if near else f"Known here: {', '.join(hints)}."
            raise UserError(f"config: unknown key '{prefix}{key}'. {hint}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise UserError(f"config: '{prefix}{key}' is a section and takes dict(...), not {value!r}.")
            arguments[key] = build_dataclass(hints[key], value, f"{prefix}{key}.")
        else:
            arguments[key] = _checked(value, hints[key], f"{prefix}{key}")
    return cls(**arguments)


def _checked(value, hint, key):
    """`value` as the type `hint` says; UserError if it is another."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        origin = get_origin(option) or option
        if origin is Literal and value in get_args(option):
            return value
        if origin is tuple and isinstance(value, list | tuple) and all(type(v) is get_args(option)[0] for v in value):
            return tuple(value)
        if origin is dict and isinstance(value, dict):
            return {name: _checked(item, get_args(option)[1], f"{key}.{name}") for name, item in value.items()}
        if origin is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if origin in (int, str, bool, type(None)) and type(value) is origin:
            return value
    raise UserError(f"config: '{key}' takes {_in_words(options)}, not {value!r} ({type(value).__name__}).")


def _in_words(options):
    words = []
    for option in options:
        if get_origin(option) is Literal:
            words.append("one of " + ", ".join(map(str, get_args(option))))
        elif get_origin(option) is tuple:
            words.append(f"a list of {get_args(option)[0].__name__}")
        elif get_origin(option) is dict:
            words.append(f"a dict of {get_args(option)[1].__name__}")
        else:
            words.append("None" if option is type(None) else f"a {option.__name__}")
    return " or ".join(words)


def as_plain(config):
    """A config dataclass as nested dicts of JSON types (tuples become lists)."""
    plain = dataclasses.asdict(config)

    def convert(value):
        if isinstance(value, dict):
            return {key: convert(item) for key, item in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return convert(plain)


def as_python(config):
    """The text of a config file that gives `config` again."""
    lines = ["# Resolved configuration of this run: every value, defaults included."]
    for key, value in as_plain(config).items():
        if isinstance(value, dict):
            lines += [f"{key} = dict(", *(f"    {name}={item!r}," for name, item in value.items()), ")"]
        else:
            lines.append(f"{key} = {value!r}")
    return "\n".join(lines) + "\n"
