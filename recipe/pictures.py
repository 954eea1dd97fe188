"""The pictures of a run: opened, split into those that are trained on and those that judge, found again as files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.memory import give_back_freed_memory
from data.dataset import ImageDataset, open_listed, shared_contents
from data.folds import assign_folds
from data.images import each
from data.index import KEYS, find_parts, list_images, list_root
from data.picture_table import list_table
from data.preprocessing import Preprocessing
from data.textiles import write_textiles
from utils import distributed
from utils.config import expanded
from utils.runlog import log

SEEN = ", which it was trained on too"  # said of pictures that a measured accuracy is of
DRAWING_SEED = 42  # of the embedded pictures, whatever the run's seed: they are data, and an ablation's seeds share them


def preprocessing_of(section):
    """The `Preprocessing` that a section of the config describes."""
    return Preprocessing(
        image_size=section.image_size,
        resize=section.resize or section.image_size,
        fit=section.fit,
        mean=(section.mean,) * 3,
        std=(section.std,) * 3,
        shrink_on_load=section.shrink_on_load,
    )


def with_parts(run):
    """`run` with the parts of a data set that lie below `data.root` as the roots that they are, which is said."""
    data, parts = run.config.data, name_parts(run.config.data)
    if parts == data:
        return run
    judges = parts.val_root or "a fold of it"
    last = f"; {parts.test_root} is not looked at before the export" if parts.test_root else ""
    log.info(f"{data.root}: holds the parts of a data set. Trained on {parts.root}, judged by {judges}{last}")
    return replace(run, config=replace(run.config, data=parts))


def name_parts(data):
    """The section `data` of a config with train, val and test below `data.root` as data.root, val_root and test_root.

    Without train nothing changes; roots that are given stay.
    """
    parts = {} if data.table else find_parts(expanded(data.root), data.classes)
    if "train" not in parts:
        return data
    roots = {"root": parts["train"], "val_root": parts.get("validation"), "test_root": parts.get("test")}
    given = {"val_root": data.val_root, "test_root": data.test_root}
    return replace(data, **{key: given.get(key) or (folder and str(folder)) for key, folder in roots.items()})


def open_data(run, preprocessing):
    """The pictures that are trained on and, or None, those of a validation part, cached as `preprocessing` squares them.

    Of a test part only names are looked at.
    """
    dataset = open_training(run, preprocessing)
    if run.config.data.test_root:
        list_images(run.config.data.test_root, dataset.classes, KEYS["test"])
    validation = _open_part(run, preprocessing, "validation", dataset.classes)
    if validation is not None:
        _tell_shared(dataset, validation, "training data")
    return dataset, validation


def open_training(run, preprocessing):
    """Those that are trained on alone."""
    data = run.config.data
    if data.draw_textiles:
        root = Path(data.root).parent
        distributed.main_first(lambda: write_textiles(root, num_train=data.draw_textiles, seed=DRAWING_SEED))
    return _open_part(run, preprocessing, "train", data.classes, corrections=data.corrections)


def open_test(run, preprocessing, dataset):
    """Those of the test part, None where there is none; which are in `dataset`, the training pictures, or unlabelled is told."""
    test = _open_part(run, preprocessing, "test", dataset.classes)
    if test is not None:
        _tell_shared(dataset, test, "training data", name="test")
        if unlabelled := open_unlabelled(run, preprocessing):
            _tell_shared(unlabelled, test, "unlabelled pictures", name="test")
    return test


def open_unlabelled(run, preprocessing, held_out=None):
    """The pictures of `data.unlabelled`, cached alike; None where there are none to learn from.

    Those that are among the `HeldOut` pictures too are told.
    """
    unlabelled = _open_part(run, preprocessing, "unlabelled")
    if unlabelled is not None and held_out is not None:
        _tell_shared(unlabelled, held_out.dataset, "unlabelled pictures", held_out.rows)
    return unlabelled


def cache_folder(run):
    """Where what is made of the pictures alone is kept, for all runs that share `data.cache`."""
    return (Path(run.config.data.cache) if run.config.data.cache else run.folder.path) / "cache"


def _open_part(run, preprocessing, name, classes=None, corrections=None):
    """The `ImageDataset` of a part, None where the config has no such."""
    data, folder = run.config.data, cache_folder(run).parent
    how = {"size": preprocessing.resize, "fit": preprocessing.fit, "shrink_on_load": preprocessing.shrink_on_load}

    def open_part():
        listed = _listed(data, name, classes, folder)
        how.update(max_pixels=data.max_pixels, verify=data.verify, corrections=corrections)
        how.update(cache_format=data.cache_format, threads=run.config.num_threads or distributed.own_cpus())
        return listed and open_listed(listed, folder, name=name, **how)

    part = distributed.main_first(open_part)
    give_back_freed_memory()  # of the listing, for what comes
    seen = {"number": len(part), "digest of names, labels and contents": part.fingerprint} if part else {}
    distributed.check_same(seen, f"the {name} pictures", "Give all machines the same files, on a shared disk or as whole copies.")
    return part


def _listed(data, name, classes, folder):
    """The `PictureList` of a part: the folder that the config names, or its rows in the table; None where there is neither."""
    roots = {"train": data.root, "validation": data.val_root, "test": data.test_root, "unlabelled": data.unlabelled}
    in_table = {}
    if data.table and name != "unlabelled":
        report = folder / "bad_rows.txt"
        in_table = list_table(data.table, data.root, data.classes, data.columns, data.splits, report)
        del roots["train"]
    if twice := next((part for part in in_table if roots.get(part)), None):
        raise UserError(f"{KEYS[twice]}: the table {data.table} has {twice} pictures too. Leave one of the two out.")
    if name in in_table:
        return in_table[name]
    return list_root(roots[name], name, classes) if roots.get(name) else None


def _tell_shared(dataset, validation, where, rows=None, name="validation"):
    """rows: numbers of the pictures of `validation` that judge; None: all."""
    judges = set(validation.paths if rows is None else validation.table["path"].iloc[rows])
    shared = [(ours, theirs) for ours, theirs in shared_contents(dataset, validation) if theirs in judges]
    for ours, theirs in shared[:5]:
        log.info(f"warning: the {name} picture {theirs!r} is also in the {where} ({ours!r}): its accuracy is flattered")


@dataclass(frozen=True)
class Pictures:
    """Labelled and unlabelled pictures in a row, as one teacher or student sees them."""

    parts: tuple[ImageDataset, ...]

    def __getitem__(self, row):
        return next(self.each([row]))

    def each(self, rows):
        """See `data.images.each`."""
        starts = np.cumsum([0, *map(len, self.parts)])
        numbers = np.searchsorted(starts, rows, side="right") - 1
        pictures = [each(part.images, np.asarray(rows)[numbers == k] - starts[k]) for k, part in enumerate(self.parts)]
        return (next(pictures[k]) for k in numbers)

    def __len__(self):
        return sum(len(part) for part in self.parts)

    @property
    def shape(self):
        """(N, R, R, 3), as of the images."""
        return (len(self), *self.parts[0].images.shape[1:])

    @property
    def paths(self):
        """Of labelled pictures as they are; of unlabelled ones after a bar."""
        return tuple("/" * number + path for number, part in enumerate(self.parts) for path in part.paths)

    @property
    def seen(self):
        """As of the parts."""
        return " ".join(part.seen for part in self.parts)


@dataclass(frozen=True)
class HeldOut:
    """Pictures that a training is judged by."""

    dataset: ImageDataset
    rows: np.ndarray  # int64 (M,), numbers of pictures in `dataset`
    name: str  # for people
    in_training_set: bool = False  # a fold of the training pictures, which a second stage on all of them has seen

    @property
    def labels(self):
        """int64 (M,)."""
        return self.dataset.labels[self.rows]

    def describe(self, seen):
        """What a measured accuracy is of; seen: is it of a model that was trained on the whole training set?"""
        return self.name + (SEEN if seen and self.in_training_set else "")

    def was_seen_by(self, meta):
        """Was the model of a checkpoint with the notes `meta` trained on these pictures?"""
        return self.in_training_set and meta["measured_on"] == self.describe(seen=True)

    def files(self):
        """(paths, class names) of the pictures as files, but for those that Python alone reads."""
        part = self.dataset.table.iloc[self.rows]
        part = part[part["only_python"] == ""]
        return [self.dataset.root / path for path in part["path"]], part["label"].tolist()


def student_split(run, dataset, validation):
    """Rows to train on, and what is held out: the validation pictures, or one fold where there are none."""
    if validation is not None:
        return np.arange(len(dataset)), HeldOut(validation, np.arange(len(validation)), "validation pictures")
    section = run.config.student
    folds = assign_folds(dataset.table, section.num_folds, run.config.seed)
    name = f"fold {section.fold} of {section.num_folds}"
    return np.flatnonzero(folds != section.fold), HeldOut(dataset, np.flatnonzero(folds == section.fold), name, True)


def held_out_files(run):
    """(paths, class names) of the pictures that the student of `run` was not trained on, as files that Python and C++ read."""
    dataset, validation = open_data(run, preprocessing_of(run.config.student))
    files, labels = student_split(run, dataset, validation)[1].files()
    if not files:
        raise UserError(f"{run.folder.path}: all held-out pictures are of formats that the C++ program does not read. Add JPEGs.")
    return files, labels
