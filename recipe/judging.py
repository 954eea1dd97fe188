"""What trials are worth, once they are trained: which pictures each answers rightly, and how fast, in one table."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import write_csv
from deploy.inputs import NetworkInput
from deploy.timing import machine
from models import build_model
from recipe.ablation import FP32, INT8
from recipe.exporting import export_ir
from recipe.likeness import answers_of
from recipe.pictures import open_data, preprocessing_of, student_split
from recipe.predictor import open_predictor
from recipe.saved_model import model_arguments
from recipe.scripts import ScriptFailed
from recipe.speed import file_to_class, quietly

MAX_TIMED = 200  # pictures that a network's speed is of


def judge(workplace, trials, budget, kinds):
    """(rows, right) of finished trials for `recipe.trial_table.summarise`: of each student, with INT8 also of that network.

    Accuracies are of one answer a picture, without its mirror image, as the exported networks give it. INT8 is left out where a
    seed's was refused, since the others would be compared with more seeds.
    """
    rows, right = [], {}
    refused = {settings(trial) for trial in trials if INT8 not in workplace.networks(trial, INT8 in kinds)}
    for trial in trials:
        for kind in [FP32] if settings(trial) in refused else [FP32, INT8]:
            answers = right_answers(workplace, trial, kind)
            rows.append(workplace.row(trial, budget) | {"network": kind, "accuracy": answers.mean()})
            right.setdefault((*settings(trial), kind), {})[trial.seed] = answers
    return pd.DataFrame(rows), {key: pd.concat(by_seed, names=["seed", "path"]) for key, by_seed in right.items()}


def settings(trial):
    """The names of the trial's choices, one for each axis."""
    return tuple(choice.name for choice in trial.choices)


def right_answers(workplace, trial, kind=FP32):
    """bool by path: which held-out pictures the student, or its INT8 network, answers rightly. Asked once, then kept in a table."""
    place = workplace.place(trial)
    path = place.path / f"answers_{kind.lower()}.csv"
    if not path.is_file():
        held_out, run = _held_out(workplace, trial)
        dataset, part = held_out.dataset, held_out.dataset.table.iloc[held_out.rows]
        if kind == FP32:
            answers = np.array(dataset.classes, object)[answers_of(place.trained(), run, held_out).argmax(1)]
        else:
            predictor = open_predictor(place.exported.network_int8, reject_below=0)
            answers = [predictor.class_of(predictor(predictor.read(dataset.root / file))) for file in part["path"]]
        write_csv(path, part[["path", "label"]].assign(answer=answers))
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.Series((table["answer"] == table["label"]).to_numpy(), table["path"])


def measure(workplace, trials, kinds):
    """Columns `ms` (the median), `fps` and `mib` by settings and kind of network, of those that are exported; None where none is.

    From file to class, one picture at a time: all networks see the same pictures by turns, in the same minutes. Of a setting's
    seeds the network of median size is measured: in FP32 they differ in their weights alone, in INT8 some keep more layers in FP32.
    `pictures`, `others_busy` and `machine` say of how many pictures, how quiet the machine was (0..1), and which one it was.
    """
    of_seeds = {}
    for trial in trials:
        for kind, path in workplace.networks(trial, INT8 in kinds).items():
            of_seeds.setdefault((*settings(trial), kind), []).append(path)
    if not of_seeds:
        return None
    networks = {key: sorted(paths, key=_mib)[len(paths) // 2] for key, paths in of_seeds.items()}
    predictors, files = {key: open_predictor(path) for key, path in networks.items()}, _some_files(workplace, trials[0])
    times, busy = quietly(lambda: file_to_class(predictors, files))
    keys = [*(f"axis {i + 1}" for i in range(len(trials[0].choices))), "network"]  # as `recipe.trial_table.key_columns`
    table = pd.DataFrame({"ms": [np.median(times[key]) for key in networks], "fps": [1e3 / times[key].mean() for key in networks]})
    table["mib"] = [_mib(path) for path in networks.values()]
    table.index = pd.MultiIndex.from_tuples(networks, names=keys)
    return table.assign(pictures=[len(times[key]) for key in networks], others_busy=round(busy, 2), machine=machine())


def _mib(network):
    return (network.stat().st_size + network.with_suffix(".bin").stat().st_size) / 2**20


def network_of(workplace, trial):
    """A text that is the same for trials whose networks take the same time."""
    section = workplace.config(trial).student
    return f"{model_arguments(section, 0)} {preprocessing_of(section)}"


def untrained_fps(workplace, trial):
    """Pictures a second of the trial's network, from file to class, which is known before training: weights do not matter to it.

    `ScriptFailed` where the network cannot be built or exported; a UserError is of the pictures, so of all trials.
    """
    (held_out, run), files = _held_out(workplace, trial), _some_files(workplace, trial)
    classes, preprocessing = held_out.dataset.classes, preprocessing_of(run.config.student)
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = build_model(**model_arguments(run.config.student, len(classes)))
            network = export_ir(model, classes, NetworkInput(preprocessing), Path(folder, "network"))
        except UserError as error:
            raise ScriptFailed(workplace.place(trial).path, "m11.py", str(error), said=None) from error
        return 1e3 / file_to_class({"": open_predictor(network)}, files)[""].mean()


def _held_out(workplace, trial):
    """(the `HeldOut` pictures that judge the trial, its session)."""
    run = workplace.session(trial)
    return student_split(run, *open_data(run, preprocessing_of(run.config.student)))[1], run


def _some_files(workplace, trial):
    """At most `MAX_TIMED` of the files that judge the trial, evenly spread."""
    files = _held_out(workplace, trial)[0].files()[0]
    return [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(len(files), MAX_TIMED)).astype(int))]
