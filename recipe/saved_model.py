"""A model and its checkpoint: built from a section of the config, saved with all that it takes to use it, loaded again."""

from dataclasses import dataclass

import torch

from common.errors import UserError
from data.preprocessing import Preprocessing
from models import build_model
from recipe.pictures import preprocessing_of
from utils.checkpoints import load_checkpoint
from utils.config import as_plain
from utils.runlog import code_version


def new_model(run, section, num_classes):
    """The model that `section` describes, its weights loaded or drawn from the run's seed, in channels-last memory."""
    torch.manual_seed(run.config.seed)
    model = build_model(**model_arguments(section, num_classes), weights=section.weights)
    return model.to(run.device, memory_format=torch.channels_last)


def model_arguments(section, num_classes):
    """The arguments of `build_model` that a checkpoint needs to be rebuilt."""
    return {
        "name": section.backbone,
        "num_classes": num_classes,
        "head": section.head,
        "pooling": section.pooling,
        "image_size": section.image_size,
        "dropout": section.dropout,
        "bn_momentum": section.bn_momentum,
    }


def checkpoint_meta(section, dataset, measured_on):
    """What every checkpoint says of itself; measured_on: which pictures its accuracy is of, in words."""
    return {
        "model": model_arguments(section, len(dataset.classes)),
        "classes": list(dataset.classes),
        "fingerprint": dataset.fingerprint,
        "preprocessing": preprocessing_of(section).as_dict(),
        "config": as_plain(section),
        "measured_on": measured_on,
        "code_version": code_version(),
    }


NOTES = {"classes": list, "model": dict, "preprocessing": dict, "fingerprint": str, "measured_on": str, "code_version": str}
ARGUMENTS = {"name", "num_classes", "head", "pooling", "image_size", "dropout", "bn_momentum"}  # of `model_arguments`


@dataclass(frozen=True)
class SavedModel:
    model: torch.nn.Module  # in eval mode
    classes: list[str]
    preprocessing: Preprocessing
    meta: dict  # what `checkpoint_meta` noted


def load_model(path, device="cpu"):
    """The `SavedModel` in a checkpoint file; UserError where it is missing, damaged, or its notes make no sense.

    What the notes say is checked before a model is built of it, so that nonsense costs no memory.
    """
    saved = load_checkpoint(path, device)
    meta = _checked_notes(saved["meta"], path)
    preprocessing = Preprocessing.from_dict(meta["preprocessing"], path)
    check_names(meta["classes"], path)
    try:
        model = _rebuild(meta["model"], len(meta["classes"]), preprocessing.image_size, saved["model"])
    except MemoryError:
        raise
    except Exception as error:  # whatever a library makes of arguments that nobody checked
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"{path}: its weights and its notes do not fit together ({reason}). Train it again.") from error
    model = model.to(device, memory_format=torch.channels_last).eval()
    return SavedModel(model, meta["classes"], preprocessing, meta)


def load_teacher(path, section, dataset, device="cpu"):
    """The `SavedModel` that teaches a student of `section`; UserError if it knows other classes or sees pictures otherwise."""
    saved, fit = load_model(path, device), section.fit
    if saved.classes != list(dataset.classes):
        raise UserError(f"{path}: a teacher of other classes: it knows {saved.classes}, the data {list(dataset.classes)}.")
    if saved.preprocessing.fit != fit:
        raise UserError(f"{path}: this teacher knows pictures with fit='{saved.preprocessing.fit}', not '{fit}'.")
    return saved


def check_names(classes, source):
    """UserError, which names the file `source`, unless `classes` is a list of different texts."""
    if not isinstance(classes, list) or not all(isinstance(name, str) and name for name in classes):
        raise UserError(f"{source}: its classes must be a list of names, none empty. Export or train it again.")
    if len({*classes}) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise UserError(f"{source}: names the class {twice!r} twice. Export or train it again.")


def _checked_notes(meta, path):
    """`meta` if it has all that `checkpoint_meta` writes, of the right types."""
    for key, kind in NOTES.items():
        if not isinstance(meta, dict) or not isinstance(meta.get(key), kind):
            raise UserError(f"{path}: not a model that this project trained (its notes lack {key!r}, or it is no {kind.__name__}).")
    return meta


def _rebuild(arguments, num_classes, image_size, state):
    """The model with these weights; raises whatever it likes where they do not fit."""
    if (arguments["num_classes"], arguments["image_size"]) != (num_classes, image_size):
        raise ValueError(f"{num_classes} classes at {image_size} pixels, but the model has {arguments}")
    if set(arguments) != ARGUMENTS:
        raise ValueError(f"a model's arguments are {sorted(ARGUMENTS)}, not {sorted(arguments)}")
    with torch.device("meta"):  # shapes without memory
        expected = {name: tuple(value.shape) for name, value in build_model(**arguments).state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name}: {found.get(name, 'missing')}, expected {expected.get(name, 'no such weights')}")
    model = build_model(**arguments)
    model.load_state_dict(state)
    return model
