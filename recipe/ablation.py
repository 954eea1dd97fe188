"""Trials of an ablation: which settings to train, running each once, and what they reached."""

import dataclasses
import hashlib
import itertools
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock
from matplotlib.figure import Figure

from common.errors import UserError
from common.files import read_json, write_json, write_text
from recipe.pictures import name_parts
from utils.config import as_python, expanded, load_config
from utils.figures import families_for, save_figure
from utils.run_folder import RunFolder
from utils.runlog import log

REPO = Path(__file__).resolve().parent.parent
MAX_DRAWN = 100  # combinations in the chart, the best ones
# Keys that no axis can vary, since each trial is given its own.
GIVEN = {
    "seed": "--seeds varies it",
    "name": "each trial has its own",
    "work_dir": "each trial has its own",
    "data.cache": "trials with the same pictures share one",
}


class TrialFailed(UserError):
    """A training script ended with an error; `reason` is what it said last, without the trial's own name."""

    def __init__(self, place, script, reason):
        super().__init__(f"{place.name}: {script} failed: {reason} (all of it: {place / 'output.txt'})")
        self.reason = reason.replace(place.name, "")


@dataclass(frozen=True)
class Trial:
    """One training: the choices of each axis, each a tuple of key=value texts, and a seed."""

    choices: tuple[tuple[str, ...], ...]
    seed: int

    @property
    def options(self):
        return [option for choice in self.choices for option in choice]

    @property
    def name(self):
        """A folder's name: readable, and different for different settings."""
        return folder_name([*self.options, f"seed={self.seed}"])


def folder_name(options):
    """`options` as one short word of letters, digits and - . = _; where that loses something, with a part of their hash."""
    exact = "_".join(options) or "base"
    word = re.sub(r"[^A-Za-z0-9_.=-]+", "-", exact)
    return word if word == exact and len(word) <= 120 else f"{word[:100]}_{hashlib.sha256(exact.encode()).hexdigest()[:12]}"


def parse_axis(text):
    """The choices of an axis, each a tuple of key=value texts.

    `student.lr=1e-3,5e-4` tries the values of one key (commas in brackets do not count); `a=1 b=2 | a=3 b=4` tries settings of
    several keys together, where quotes hold a value with blanks together: `data.root="my pictures" | ...`.
    """
    try:
        if "|" in text:
            choices = [tuple(shlex.split(part)) for part in text.split("|")]
        else:
            key, _, values = text.partition("=")
            choices = [(f"{key.strip()}={value.strip()}",) for value in re.split(r",(?![^(\[{]*[)\]}])", values)]
    except ValueError as error:
        raise UserError(f"axis '{text}': {error}.") from error
    if len(set(choices)) < max(2, len(choices)) or not all(
        choice and all(re.fullmatch(r"[\w.]+=.+", option) for option in choice) for choice in choices
    ):
        raise UserError(
            f"axis '{text}': takes KEY=VALUE,VALUE,... or 'KEY=VALUE KEY=VALUE | KEY=VALUE ...', "
            "two choices at least, no two alike."
        )
    for key in {option.partition("=")[0] for choice in choices for option in choice} & GIVEN.keys():
        raise UserError(f"axis '{text}': {key} is not for an axis: {GIVEN[key]}.")
    return choices


def plan(axes, seeds):
    """All trials, seed by seed, so that an interrupted ablation has compared all settings on some seeds."""
    return [Trial(choices, seed) for seed in seeds for choices in itertools.product(*axes)]


class Workplace:
    """The folder of an ablation: trials/, teachers/, timing/ and pixels/, a cache that all of them share.

    Each training has a run folder of its own there, with its whole config in trial.py: `python m11.py .../trial.py` is that trial
    again. Nothing else is written into the folder of the run that the config names,
    but the views.npy of a teacher there, which its students share.
    """

    def __init__(self, folder, config_path, base_options):
        self.folder, self.config_path, self.base_options = Path(folder), config_path, list(base_options)

    def config(self, trial):
        """The trial's config, before it is known who teaches it; UserError for a wrong key, type or value."""
        return load_config(self.config_path, [*self.base_options, *trial.options, f"seed={trial.seed}"])

    def check(self, trials):
        """Raise the UserErrors that need not wait until something was trained: of settings, and of pictures to draw."""
        numbers = {}
        for config in [load_config(self.config_path), *map(self.config, trials)]:
            if config.data.draw_textiles:
                numbers.setdefault(config.data.root, set()).add(config.data.draw_textiles)
        for root, drawn in numbers.items():
            if len(drawn) > 1:  # they would replace each other's, and those of the run that the config names
                raise UserError(
                    f"data.draw_textiles: {root} cannot hold {drawn} pictures at once. Give each number its own data.root."
                )

    def train(self, trial, budget=None):
        """Train the trial, and its teacher where there is none yet, unless that is done. budget: minutes, see `epochs_within`."""
        if self.is_finished(trial):
            return
        config, teacher_accuracy = self.with_teachers(trial)
        if budget:
            config = _changed(config, "student", epochs=self.epochs_within(trial, config, budget))
        self.run("student", "trials", trial.name, config, teacher_accuracy=teacher_accuracy, budget=budget)

    def with_teachers(self, trial):
        """(the trial's config with its teachers' files named, their OOF accuracy or None); trains them if there are none."""
        config = self.config(trial)
        student = config.student
        by_folds = student.labels_views and student.labelled_by_folds
        needs_oof = not student.oof and (by_folds or (student.teacher_weight and student.distillation in ("oof", "both")))
        in_the_loop = not student.online_teachers and student.distillation in ("online", "both")
        if not (needs_oof or in_the_loop):
            return config, None
        folder = self.teacher(trial, with_models=in_the_loop or by_folds)
        links = {"oof": str(folder.oof)} if needs_oof else {}
        if in_the_loop:
            links["online_teachers"] = tuple(str(folder.fold(k).best) for k in range(config.teacher.num_folds))
        return _changed(config, "student", **links), folder.results()["teacher"]["oof_accuracy"]

    def teacher(self, trial, with_models):
        """The run folder of the teacher that the trial's config describes: the config's own if it is that one, else one from here.

        with_models: are its checkpoints needed, or is its OOF table enough?
        """
        options = [option for option in trial.options if not option.startswith("student.")]
        config = load_config(self.config_path, [*self.base_options, *options])  # of the config's seed, for the trials of all seeds
        own = RunFolder(config.folder)
        if _is_ready_teacher(own, config, with_models):
            return own
        return self.run("teacher", "teachers", folder_name(options), config)

    def run(self, stage, kind, name, config, **notes):
        """Train a stage of `config` in folder/kind/name, unless it has finished there; returns that `RunFolder`."""
        place = self.folder / kind / name
        config_path, done = place / "trial.py", place / "trial.json"
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):  # several shards may need the same teacher: one trains it, the others wait
            if not done.is_file():
                script, start = {"teacher": "e4.py", "student": "m11.py"}[stage], time.time()
                here = dataclasses.replace(config, name=name, work_dir=str(place.parent))
                here = _changed(here, "data", cache=str(self.folder / "pixels" / _pictures_mark(config)))
                write_text(config_path, f"# python {script} {shlex.quote(str(config_path))}\n{as_python(here)}")
                self._call(script, place)
                write_json(done, {"seconds": round(time.time() - start, 1), **notes})
        if _what_it_learns(load_config(config_path), stage) != _what_it_learns(config, stage):
            raise _OtherSettings(place)
        return RunFolder(place)

    def _call(self, script, place):
        command = [sys.executable, str(REPO / script), str(place / "trial.py")]
        with open(place / "output.txt", "w") as output:
            if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode:
                last_words = (place / "output.txt").read_text("utf-8", "replace").strip().splitlines()[-3:]
                raise TrialFailed(place, script, " ".join(last_words))

    def epochs_within(self, trial, config, minutes):
        """Epochs of the student that take about `minutes`: two epochs are timed, once for all seeds of the same settings."""
        timing = dataclasses.replace(_changed(config, "student", epochs=2, final_epochs=0), seed=0)
        rows = pd.read_csv(self.run("student", "timing", folder_name(trial.options), timing).student.metrics)
        return max(1, int(60 * minutes / (rows["seconds"] + rows["eval_seconds"]).mean()))

    def is_finished(self, trial):
        """Has the trial been trained, by whichever process?"""
        return self._notes(trial).is_file()

    def row(self, trial, budget=None):
        """One row of the table, of a trial that is finished: choices, seed, accuracies, minutes. Trains nothing."""
        place, notes = RunFolder(self.folder / "trials" / trial.name), read_json(self._notes(trial))
        trained, asked = load_config(place.path / "trial.py"), self.config(trial)
        # What was found out on the way to the trial: its teachers' places, and the epochs that fit into the budget.
        found = {name: getattr(trained.student, name) for name in ("oof", "online_teachers") if not getattr(asked.student, name)}
        if budget:
            found["epochs"] = trained.student.epochs
        wanted, stages = _changed(asked, "student", **found), ["student", *["teacher"] * (notes["teacher_accuracy"] is not None)]
        if notes["budget"] != budget or any(_what_it_learns(trained, s) != _what_it_learns(wanted, s) for s in stages):
            raise _OtherSettings(place.path)
        reached = place.results()["student"]
        return {
            **{f"axis {i + 1}": " ".join(choice) for i, choice in enumerate(trial.choices)},
            "seed": trial.seed,
            "accuracy": reached.get("averaged_accuracy", reached["best_accuracy"]),
            "best_accuracy": reached["best_accuracy"],
            "teacher_accuracy": notes["teacher_accuracy"],
            "minutes": round(notes["seconds"] / 60, 2),
        }

    def _notes(self, trial):
        return self.folder / "trials" / trial.name / "trial.json"


class _OtherSettings(UserError):
    def __init__(self, place):
        super().__init__(
            f"{place}: was trained with other settings (trial.py in it) or another --budget. Name another --output, or delete it."
        )


def _is_ready_teacher(folder, config, with_models):
    """Does the `RunFolder` hold a finished teacher, made with the settings and of the pictures that `config` says?"""
    models = [folder.fold(k).best for k in range(config.teacher.num_folds)] if with_models else []
    if "teacher" not in folder.results() or not all(path.is_file() for path in [folder.oof, folder.config("teacher"), *models]):
        return False
    return _what_it_learns(load_config(folder.config("teacher")), "teacher") == _what_it_learns(config, "teacher")


def _what_it_learns(config, stage):
    """What decides what a stage ("teacher", "student") learns: not its name and place, nor how the machine is made to work."""
    root, val_root, *more = *_pictures(config), config.data.corrections and expanded(config.data.corrections).absolute()
    # What judges the best epoch; a teacher's is chosen by its own fold.
    students = [val_root, config.data.unlabelled and expanded(config.data.unlabelled).absolute()] if stage == "student" else []
    return getattr(config, stage), config.seed, root, *more, *students


def _pictures(config):
    """(root, val_root, classes, number to draw, the table if there is one), wherever the config is read from."""
    data = name_parts(config.data)
    root, val_root, table = (path and expanded(path).absolute() for path in (data.root, data.val_root, data.table))
    return root, val_root, data.classes, data.draw_textiles, *((table, data.columns, data.splits) if table else ())


def _pictures_mark(config):
    """A short word for the config's pictures: trials with the same share a cache, others do not overwrite it."""
    return hashlib.sha256(repr(_pictures(config)).encode()).hexdigest()[:12]


def _changed(config, section, **values):
    """`config` with other values in one of its sections."""
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})


def summarise(rows):
    """Mean and standard deviation over the seeds of each combination, the best first."""
    axes = [column for column in rows.columns if column.startswith("axis ")]
    groups = rows.groupby(axes, sort=False)
    table = groups["accuracy"].agg(mean="mean", std="std", seeds="count")
    table["minutes"] = groups["minutes"].mean()
    return table.sort_values("mean", ascending=False).reset_index()


def write_markdown(path, table, note):
    """The summary as a Markdown table below `note`."""
    axes = [column for column in table.columns if column.startswith("axis ")]
    lines = [note, "", f"| {' | '.join(axes)} | accuracy | seeds | minutes each |", f"| {'--- | ' * (len(axes) + 3)}".rstrip()]
    for _, row in table.iterrows():
        spread = f" ± {row['std']:.4f}" if row["seeds"] > 1 else ""
        cells = [*(f"`{row[axis]}`" for axis in axes), f"{row['mean']:.4f}{spread}", str(row["seeds"]), f"{row['minutes']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    write_text(path, "\n".join(lines) + "\n")


def draw(path, rows, table):
    """The best combinations' accuracies: a tick for each seed, the mean with its standard deviation."""
    axes, table = [column for column in table.columns if column.startswith("axis ")], table.head(MAX_DRAWN)
    names = [" ".join(row) for row in table[axes].itertuples(index=False)]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(names)), layout="constrained")
    plot = figure.subplots()
    plot.errorbar(table["mean"], range(len(names)), xerr=table["std"].fillna(0), fmt="o", capsize=4)
    places = {name: i for i, name in enumerate(names)}
    heights = [places.get(" ".join(row)) for row in rows[axes].itertuples(index=False)]
    drawn = [height is not None for height in heights]
    plot.scatter(rows["accuracy"][drawn], [h for h in heights if h is not None], marker="|", s=120, color="black", zorder=3)
    labels = [name.replace(" ", "\n") for name in names]
    plot.set_yticks(range(len(names)), labels, fontsize=8, parse_math=False, fontfamily=families_for("".join(names)))
    plot.invert_yaxis()
    plot.set_xlabel("validation accuracy")
    save_figure(figure, path, dpi=120)


def run_trials(workplace, trials, budget):
    """Train what is not trained yet; a trial that fails is told and left out. Returns the errors of those that failed.

    Where the first two fail for the same reason, such as missing pictures, the others would too: UserError.
    """
    failures = []
    for i, trial in enumerate(trials):
        try:
            workplace.train(trial, budget)
            row = workplace.row(trial, budget)
            log.info(f"{i + 1}/{len(trials)}  {trial.name}: accuracy {row['accuracy']:.4f} in {row['minutes']:.1f} min")
        except TrialFailed as error:
            failures.append(error)
            log.info(f"{i + 1}/{len(trials)}  {error}")
            if i == 1 and len(failures) == 2 and failures[0].reason == error.reason:
                raise UserError(f"stopped, since two trials of two failed for one reason. {error}") from error
    return failures
