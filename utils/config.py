"""Configuration: frozen dataclasses whose defaults are the recipe, filled from an mmengine config file and the command line.

Every value stands here once, with its unit, its range and its reason. A config file says only what differs.
"""

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from mmengine.config import Config as FileConfig

from common.errors import UserError
from utils.config_values import Range, build_dataclass, merge_options

REPO = Path(__file__).resolve().parent.parent

SECTIONS = ("teacher", "student")
BEFORE = {"shrink_on_load": 0}  # what runs did that were begun before there was such a setting, where it is not the default
FORMATS_BEFORE = {"cache_format": "pixels", "held_out_format": "pixels"}  # the same, of what was found and not set
TAKEN_OUT = {"feature_weight": 0.0}  # settings that there are no more, with the value at which a run did what it would do today

Share = Annotated[float, Range(0, 1)]
ShareAboveZero = Annotated[float, Range(above=0, most=1)]
BelowOne = Annotated[float, Range(0, below=1)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(0)]
Count = Annotated[int, Range(0)]
OneOrMore = Annotated[int, Range(1)]
TwoOrMore = Annotated[int, Range(2)]
Pixels = Annotated[int, Range(8, 4096)]


@dataclass(frozen=True)
class DataConfig:
    # Folder of class folders, or of train/, val/ and test/ (or training, valid, validation, testing) with class folders in them.
    root: str = "/home/data/14"
    classes: tuple[str, ...] | None = None  # fixed class order; None: the folder names, or the labels of `table`, sorted
    val_root: str | None = None  # validation pictures in a folder of their own; None: a fold of `root`
    # Pictures in class folders that nothing is chosen by: teacher, student and exported files are measured on them in the end.
    test_root: str | None = None
    # A CSV or Parquet file with a row for each picture, instead of class folders: its path, absolute or below `root`, its label (or
    # the label's number in `classes`, from 0) and, if there is such a column, whether it is of train, val or test.
    table: str | None = None
    columns: dict[str, str] = field(default_factory=dict)  # its columns, where they are not called path, label and split
    splits: dict[str, str] = field(default_factory=dict)  # its words for train, val and test, such as dict(val="dev")
    # A table path,label of labels to correct: another class than the folder's, or drop to leave the picture out.
    corrections: str | None = None
    unlabelled: str | None = None  # folder of pictures without classes, at any depth, for stored views to learn from; None: no such
    cache: str | None = None  # folder of index and pixel cache, which several runs may share; None: the run folder
    # The cache holds pixels; or JPEGs of quality 95, several times smaller, which are decoded batch by batch (docs/data.md). auto:
    # what is there already, else pixels if the disk has room for them.
    cache_format: Literal["auto", "pixels", "jpeg"] = "auto"
    max_pixels: OneOrMore = 200_000_000  # larger pictures are refused unopened: a small file may unfold to gigabytes
    verify: bool = False  # read all pictures again at the start, whatever their sizes and times say
    draw_textiles: Count = 0  # first draw this many training pictures of the embedded textiles beside `root`

    def __post_init__(self):
        for key, known in (("columns", ("path", "label", "split")), ("splits", ("train", "val", "test"))):
            for name in getattr(self, key):
                if name not in known:
                    raise UserError(f"{key}.{name}: there is no such. It takes {', '.join(known)}, such as {key}.{known[0]}=WORD.")
            if getattr(self, key) and self.table is None:
                raise UserError(f"{key}: says how data.table is written, but there is none. Give data.table=FILE too.")


@dataclass(frozen=True)
class TrainConfig:
    """What teacher and student have in common. Each value is a default of the recipe unless a comment says otherwise."""

    backbone: str = "mobilenet_v3_small"  # a name from models/backbones.py, or of any convolutional network of timm
    weights: str = "imagenet"  # imagenet, none, or the path of a local file
    head: str = "linear"  # a name from models/heads.py
    pooling: str = "avg"  # a name from models/pooling.py
    dropout: BelowOne = 0.2  # before the last linear layer
    # Share of each new batch in the running BatchNorm statistics. None: the library's value, but in a run of few steps as much as
    # it takes (up to 0.1) for the statistics to be of the network at its end.
    bn_momentum: ShareAboveZero | None = None
    image_size: Pixels = 224  # network input, pixels
    resize: Pixels | None = None  # pictures are resized to this square, then cropped to image_size; None: no crop
    fit: Literal["stretch", "pad"] = "stretch"  # into that square: proportions not kept; or kept, with grey beside the picture
    # JPEGs are decoded at the least of the scales k/8 that leaves both sides this many times `resize`: large photographs several
    # times as fast. Those that run the network do as it was trained. 0: in their own size. At 1, answers differ more from those of
    # programs that decode pictures whole.
    shrink_on_load: Annotated[int, Range(0, 16)] = 2
    # Training images are made this small, in equal shares of the epochs: such as (80, 96, 112) for an image_size of 128. Small ones
    # train faster, and a part cut out at random shows things larger than the whole picture does. None: image_size.
    train_sizes: tuple[Pixels, ...] | None = None
    mean: Annotated[float, Range(-10, 10)] = 0.5  # pixel / 255 - mean ...
    std: Positive = 1.0  # ... / std
    augmentation: str = "none"  # a name from data/augment.py
    augmentation_backend: Literal["batched", "albumentations"] = "batched"  # whole batches; picture by picture, some times slower
    # A name from data/mixing.py; or dict(cutmix=2, mixup=1): for each batch one of them, drawn by weight. On the command line
    # student.mixing.cutmix=2 student.mixing.mixup=1.
    mixing: str | dict[str, NotNegative] = "cutmix"
    # The next two: a number for every mixing, or by name, dict(mixup=0.2); the ones left out keep the recipe's.
    mixing_alpha: Positive | dict[str, Positive] = 1.0  # Beta(alpha, alpha) draws the share that is pasted or blended
    mixing_prob: Share | dict[str, Share] = 0.5  # share of the batches that are mixed; gridmask: of the images
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    # balanced: every class as often as the largest, as the smallest (downsampling), or a number of times; sqrt: each in proportion
    # to the square root of its size, as many images as there are.
    sampler_mode: OneOrMore | str = "upsampling"
    num_folds: TwoOrMore = 5
    batch_size: TwoOrMore = 256  # images a step, over all processes; BatchNorm cannot train on one
    epochs: Count = 20  # 0, with head_epochs: the head alone is trained
    optimizer: str = "radam"  # a name from utils/optimizers.py
    lr: Positive = 1e-3  # the highest rate of the schedule
    schedule: Literal["cosine", "onecycle", "constant"] = "cosine"  # to 0; up and down; no change. Stepped every batch
    backbone_lr_scale: NotNegative = 1.0  # backbone rate / head rate; below 1 for a gentle fine-tune
    weight_decay: NotNegative = 0.0
    warmup_steps: Count = 0  # linear from 0; onecycle: steps until its peak, 0 for three tenths of the run
    clip_grad_norm: NotNegative = 0.0  # largest L2 norm of all gradients together, longer ones are shortened to it; 0: any
    ema_decay: BelowOne = 0.0  # such as 0.999: best.pth is judged and kept as a moving average of the weights; 0: none
    loss: str = "cross_entropy"  # a name from utils/losses.py
    focal_alpha: Positive = 0.25  # loss="focal": factor of the loss
    focal_gamma: NotNegative = 2.0  # loss="focal": how fast a class that is predicted well loses weight
    ohem_share: ShareAboveZero = 0.7  # loss="ohem": share of the batch, the hardest, that is learnt from
    label_smoothing: Share = 0.0
    head_epochs: Count = 0  # epochs that train the head alone on the frozen backbone's features, before all else
    head_lr: Positive = 1e-3  # learning rate of those epochs
    frozen_stages: Count = 0  # stages of the backbone, from the input, that stay as they were loaded
    frozen_batchnorm: bool = False  # keep the loaded BatchNorm statistics while fine-tuning
    flip_test: bool = False  # predictions are the mean of a picture's and its mirror image's
    precision: Literal["auto", "bf16", "fp16", "fp32", "apex"] = "auto"  # auto: bf16 or fp16 on a GPU, fp32 on a CPU

    def __post_init__(self):
        if not self.epochs and not self.head_epochs:
            raise UserError("epochs=0: nothing would be trained. It takes 1 or more, or 0 where head_epochs trains the head alone.")
        if self.resize is not None and self.resize < self.image_size:
            raise UserError(f"resize={self.resize} is smaller than image_size={self.image_size}; it is the size before the crop.")

    @property
    def labels_views(self):
        """Do teachers label stored views? Only a student learns from such."""
        return False


@dataclass(frozen=True)
class TeacherConfig(TrainConfig):
    backbone: str = "efficientnet_b1"
    head: str = "se_linear"
    dropout: BelowOne = 0.0
    image_size: Pixels = 192
    augmentation: str = "teacher"
    batch_size: TwoOrMore = 160


@dataclass(frozen=True)
class StudentConfig(TrainConfig):
    head: str = "mlp1280"
    resize: Pixels | None = 256
    std: Positive = 0.225
    augmentation: str = "student"
    sampler: Literal["shuffle", "balanced"] = "balanced"
    num_folds: TwoOrMore = 10
    fold: Count = 0  # the fold held out for validation when there is no data.val_root
    # oof: the labels are blended with the teacher's OOF table; views: with what it says of just the part of the picture that the
    # student sees, one of num_views; online: teachers look at every batch; both: oof and online; none: labels alone
    distillation: Literal["oof", "views", "online", "both", "none"] = "oof"
    oof: str | None = None  # the teacher's oof.csv, with the teacher beside it; None: the one in the run folder
    teacher_weight: Share = 0.2  # share of the teacher's distribution in the labels; 0: hard labels, no teacher
    num_views: OneOrMore = 16  # stored views of each picture
    blended_views: Share = 0.0  # share of them that are blended with another picture's, as MixUp, and labelled as they then are
    # The student sees each stored view moved and resized by up to this share of its sides. Without, some hundred epochs learn the
    # few views by heart.
    view_jitter: Annotated[float, Range(0, 0.5)] = 0.1
    # Who labels the views. folds: the fold's model that never saw the picture; mean: all folds' models together; or the path of a
    # checkpoint, such as runs/x/student/best.pth.
    views_by: str = "folds"
    # Checkpoints of the teachers in the loop, such as runs/x/teacher/fold0/best.pth; (): those of all folds in the run folder.
    online_teachers: tuple[str, ...] = ()
    online_weight: Share = 0.5  # share of the distance from them in the loss; 1: the labels do not matter
    temperature: Positive = 2.0  # of the teachers' and the student's distributions in that distance
    hard_oof: bool = False  # reduce the teacher's distribution to its arg-max, as the first implementation did
    control: bool = False  # train the same student on hard labels too, in control/, to see what the teacher brings
    final_epochs: Count = 4  # second stage: epochs at final_lr on all images, whose checkpoints are averaged; 0: none
    final_lr: Positive = 1e-6
    reestimate_batchnorm: bool = False  # after averaging: forward passes instead of averaged statistics

    def __post_init__(self):
        super().__post_init__()
        if self.fold >= self.num_folds:
            raise UserError(f"fold={self.fold}: the folds are 0 to {self.num_folds - 1} (student.num_folds).")
        if self.hard_oof and self.distillation == "views":
            raise UserError("hard_oof=True: is of the OOF table; distillation='views' takes what is said of each view as it is.")

    @property
    def labels_views(self):
        """Do teachers label stored views?"""
        return self.distillation == "views" and self.teacher_weight > 0

    @property
    def labelled_by_folds(self):
        """Are the views labelled by the folds' models, not by a checkpoint?"""
        return self.views_by in ("folds", "mean")


@dataclass(frozen=True)
class StudyConfig:
    """What ablate.py varies; the other scripts do not look at it."""

    axes: tuple[str, ...] = ()  # as for --axis
    seeds: OneOrMore = 3


@dataclass(frozen=True)
class RunConfig:
    name: str = "jishi"  # the run's folder below work_dir, such as demo or tries/1
    work_dir: str = "runs"  # ~ is your home folder
    seed: Annotated[int, Range(0, 2**32 - 1)] = 42
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...
    num_threads: Annotated[int, Range(0, 1024)] = 0  # CPU threads; 0: all cores that this process may use
    data: DataConfig = field(default_factory=DataConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    study: StudyConfig = field(default_factory=StudyConfig)

    def __post_init__(self):
        if Path(self.name).is_absolute() or ".." in Path(self.name).parts or Path(self.name) == Path():
            raise UserError(f"name={self.name!r}: must be the name of a folder below work_dir ({self.work_dir}), such as demo.")
        if self.data.unlabelled is not None and not self.student.labels_views:
            raise UserError(
                "data.unlabelled: such pictures teach through stored views alone. Set student.distillation=views, and a "
                "student.teacher_weight above 0."
            )

    @property
    def folder(self):
        """The run folder, runs/<name>."""
        return expanded(Path(self.work_dir, self.name))


def expanded(path):
    """The path with the home folder in place of ~; as it is where there is no such user."""
    return Path(os.path.expanduser(path))


def load_config(path, options=()):
    """The `RunConfig` in the Python file `path`, changed by `options`, texts such as 'student.lr=0.002'.

    A path that is not there is looked for in the project's folder too. Raises UserError for a missing or broken file, an unknown
    key (naming the nearest), a wrong type and a value out of range.
    """
    return build_dataclass(RunConfig, merge_options(_read(path), options))


def load_resolved(path):
    """The `RunConfig` of a run, with all its values in the file `path`; what is missing there was not yet a setting (`BEFORE`).

    What is there and no setting any more (`TAKEN_OUT`) is left out: what the run leaves can be used without.
    """
    return _of_today(_read(path))


def load_comparable(path, *stages):
    """`load_resolved`, to compare with what `stages` ("teacher", "student") would do today; None if they used what is gone."""
    values = _read(path)
    used = (values.get(stage, {}).get(key, value) != value for stage in stages for key, value in TAKEN_OUT.items())
    return None if any(used) else _of_today(values)


def _of_today(values):
    for name in SECTIONS:
        if name in values:
            values[name] = BEFORE | {key: value for key, value in values[name].items() if key not in TAKEN_OUT}
    return build_dataclass(RunConfig, values)


def value_at(config, key):
    """The value that a key such as student.mixing.cutmix has in `config`."""
    value = config
    for name in key.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


def _read(path):
    path = _find(path)
    _check_text(path)
    try:
        return FileConfig.fromfile(str(path), use_predefined_variables=False, import_custom_modules=False).to_dict()
    except Exception as error:
        raise UserError(f"{path}: cannot be read as a config: {error}") from error


def _find(path):
    if Path(path).suffix != ".py":
        raise UserError(f"{path}: a config is a Python file (.py). Ready-made ones lie in configs/.")
    for place in (Path(path), REPO / path):
        if place.is_file():
            return place
    raise UserError(f"{path}: no such config file. Ready-made ones lie in configs/.")


def _check_text(path):
    """A config in another encoding than UTF-8 would be told by a byte's number only."""
    content = path.read_bytes()
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: starts with a byte-order mark. Save it as UTF-8 without one.")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line} is not UTF-8 text. Save the file in that encoding.") from error


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
