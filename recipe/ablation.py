"""Trials of an ablation: which settings to train, running each once, and what they reached."""

import contextlib
import hashlib
import itertools
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from common.errors import UserError
from common.files import atomic_path, read_json, write_json, write_text
from utils.config import load_config
from utils.runlog import log
from utils.session import argument_parser

REPO = Path(__file__).resolve().parent.parent
OF_THE_MACHINE = ("num_threads=", "device=")  # options that change how fast a trial is trained, not what it learns


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
    """`options` as one short word of letters, digits and - . = _."""
    text = "_".join(re.sub(r"[^\w.=-]+", "-", option) for option in options) or "base"
    return text if len(text) <= 120 else f"{text[:100]}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def parse_axis(text):
    """The choices of an axis, each a tuple of key=value texts.

    `student.lr=1e-3,5e-4` tries the values of one key (commas in brackets do not count); `a=1 b=2 | a=3 b=4` tries settings of
    several keys together.
    """
    if "|" in text:
        choices = [tuple(part.split()) for part in text.split("|")]
    else:
        key, _, values = text.partition("=")
        choices = [(f"{key.strip()}={value.strip()}",) for value in re.split(r",(?![^(\[{]*[)\]}])", values)]
    if len(choices) < 2 or not all(choice and all(re.fullmatch(r"[\w.]+=.+", option) for option in choice) for choice in choices):
        raise UserError(f"axis '{text}': takes KEY=VALUE,VALUE,... or 'KEY=VALUE KEY=VALUE | KEY=VALUE ...', two choices at least.")
    return choices


def plan(axes, seeds):
    """All trials, seed by seed, so that an interrupted ablation has compared all settings on some seeds."""
    return [Trial(choices, seed) for seed in seeds for choices in itertools.product(*axes)]


def resolved(config_path, options):
    """The config with `options` (key=value texts) applied; UserError for a wrong key or type, before anything is trained."""
    arguments = argument_parser("").parse_args([str(config_path), *(["--cfg-options", *options] if options else [])])
    return load_config(arguments.config, arguments.cfg_options)


class Workplace:
    """The folder of an ablation: trials/, teachers/, timing/ and a pixel cache that all of them share."""

    def __init__(self, folder, config_path, base_options):
        self.folder, self.config_path, self.base_options = Path(folder), config_path, list(base_options)

    def run(self, script, kind, name, options, seed):
        """Run a training script in folder/kind/name, unless it has finished there; returns (its results.json, seconds)."""
        place = self.folder / kind / name
        done, options = place / "trial.json", [*self.base_options, *options, f"seed={seed}"]
        with _alone_in(place):
            if not done.is_file():
                start = time.time()
                self._call(script, place, options)
                write_json(done, {"script": script, "options": options, "seconds": round(time.time() - start, 1)})
        trained = read_json(done)
        if _learning(trained["options"]) != _learning(options):
            raise UserError(
                f"{place}: was trained with other settings ({' '.join(trained['options'])}). Name another --output, or delete it."
            )
        return read_json(place / "results.json"), trained["seconds"]

    def _call(self, script, place, options):
        places = [f"name={place.name}", f"work_dir={place.parent}", f"data.cache={self.folder / 'pixels'}"]
        command = [sys.executable, str(REPO / script), str(self.config_path), "--cfg-options", *options, *places]
        with open(place / "output.txt", "w") as output:
            if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode:
                last_words = (place / "output.txt").read_text().strip().splitlines()[-3:]
                raise TrialFailed(place, script, " ".join(last_words))

    def teacher(self, trial):
        """(options that name the trial's teachers for its student, their OOF accuracy or None); trains them if there are none."""
        config = resolved(self.config_path, [*self.base_options, *trial.options])
        student = config.student
        needs_oof = student.teacher_weight and not student.oof and student.distillation in ("oof", "both")
        needs_models = not student.online_teachers and student.distillation in ("online", "both")
        if not (needs_oof or needs_models):
            return [], None

        options, folder = [option for option in trial.options if not option.startswith("student.")], config.folder
        models = [f"teacher/fold{fold}/best.pth" for fold in range(config.teacher.num_folds)] * needs_models
        # Of the config as it stands, trained before.
        if options or not all(Path(folder, name).is_file() for name in ["oof.csv", *models]):
            folder = self.folder / "teachers" / folder_name(options)
            self.run("e4.py", "teachers", folder.name, options, config.seed)
        links = [f"student.oof={folder / 'oof.csv'}"] if needs_oof else []
        if needs_models:
            links.append("student.online_teachers=[" + ",".join(str(folder / name) for name in models) + "]")
        return links, read_json(folder / "results.json")["teacher"]["oof_accuracy"]

    def epochs_within(self, trial, options, minutes):
        """Epochs of the student that take about `minutes`: two epochs are timed, once for all seeds of the same settings."""
        timing = [*options, "student.epochs=2", "student.final_epochs=0"]
        name = folder_name(trial.options)
        self.run("m11.py", "timing", name, timing, seed=0)
        rows = pd.read_csv(self.folder / "timing" / name / "student" / "metrics.csv")
        return max(1, int(60 * minutes / (rows["seconds"] + rows["eval_seconds"]).mean()))

    def student(self, trial, budget=None):
        """One row of the table: choices, seed, accuracies, minutes."""
        oof, teacher_accuracy = self.teacher(trial)
        options = [*trial.options, *oof]
        if budget:
            options.append(f"student.epochs={self.epochs_within(trial, options, budget)}")
        results, seconds = self.run("m11.py", "trials", trial.name, options, trial.seed)
        student = results["student"]
        return {
            **{f"axis {i + 1}": " ".join(choice) for i, choice in enumerate(trial.choices)},
            "seed": trial.seed,
            "accuracy": student.get("averaged_accuracy", student["best_accuracy"]),
            "best_accuracy": student["best_accuracy"],
            "teacher_accuracy": teacher_accuracy,
            "minutes": round(seconds / 60, 2),
        }

    def finished(self, trials):
        """Those of `trials` that have been trained, by whichever process."""
        return [trial for trial in trials if (self.folder / "trials" / trial.name / "trial.json").is_file()]


def _learning(options):
    return [option for option in options if not option.startswith(OF_THE_MACHINE)]


@contextlib.contextmanager
def _alone_in(place):
    """Other processes that want the same run (a teacher that several shards need) wait until this one has it."""
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w") as file:
        with contextlib.suppress(ImportError):  # Windows, where shards must not share a teacher
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
    """Every combination's accuracies: a tick for each seed, the mean with its standard deviation."""
    axes = [column for column in table.columns if column.startswith("axis ")]
    names = [" ".join(row) for row in table[axes].itertuples(index=False)]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(names)), layout="constrained")
    plot = figure.subplots()
    plot.errorbar(table["mean"], range(len(names)), xerr=table["std"].fillna(0), fmt="o", capsize=4)
    places = {name: i for i, name in enumerate(names)}
    heights = [places[" ".join(row)] for row in rows[axes].itertuples(index=False)]
    plot.scatter(rows["accuracy"], heights, marker="|", s=120, color="black", zorder=3)
    plot.set_yticks(range(len(names)), [name.replace(" ", "\n") for name in names], fontsize=8)
    plot.invert_yaxis()
    plot.set_xlabel("validation accuracy")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def run_trials(workplace, trials, budget):
    """Train what is not trained yet; a trial that fails is told and left out. Returns the errors of those that failed.

    Where the first two fail for the same reason, such as missing pictures, the others would too: UserError.
    """
    failures = []
    for i, trial in enumerate(trials):
        try:
            row = workplace.student(trial, budget)
            log.info(f"{i + 1}/{len(trials)}  {trial.name}: accuracy {row['accuracy']:.4f} in {row['minutes']:.1f} min")
        except TrialFailed as error:
            failures.append(error)
            log.info(f"{i + 1}/{len(trials)}  {error}")
            if i == 1 and len(failures) == 2 and failures[0].reason == error.reason:
                raise UserError(f"stopped, since two trials of two failed for one reason. {error}") from error
    return failures
