"""Trials of an ablation: which settings to train, running each once, exporting it, and what each reached."""

import dataclasses
import hashlib
import itertools
import re
import shlex
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd

from common.errors import UserError
from common.files import read_json, sha256, write_json, write_text
from recipe import scripts
from recipe.cluster import Task
from recipe.pictures import name_parts, open_data, preprocessing_of
from recipe.scripts import ScriptFailed
from utils.config import as_python, expanded, load_comparable, load_config, value_at
from utils.run_folder import RunFolder
from utils.runlog import log
from utils.session import Session, pick_device

FP32, INT8 = "FP32", "INT8"  # the kinds of exported networks
# Keys that cannot be varied, since each trial is given its own.
GIVEN = {
    "seed": "--seeds varies it",
    "name": "each trial has its own",
    "work_dir": "each trial has its own",
    "data.cache": "trials with the same pictures share one",
}


class Choice(tuple):
    """What an axis tries: key=value texts, and a name for them in tables and charts."""

    def __new__(cls, options, name=None):
        choice = super().__new__(cls, options)
        choice.name = name or " ".join(choice)
        return choice


@dataclass(frozen=True)
class Trial:
    """One training: the choice of each axis, and a seed."""

    choices: tuple[Choice, ...]
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
    """The `Choice`s of an axis.

    `student.lr=1e-3,5e-4` tries the values of one key (commas in brackets do not count); `a=1 b=2 | a=3 b=4` tries settings of
    several keys together, where quotes hold a value with blanks together: `data.root="my pictures" | ...`. Such settings may have
    a name, `small: a=1 b=2 | large: a=3 b=4`.
    """
    try:
        if "|" in text:
            named = [re.fullmatch(r"\s*(?:([^=]+?):\s)?(.*)", part, re.DOTALL) for part in text.split("|")]
            choices = [Choice(shlex.split(part[2]), part[1]) for part in named]
        else:
            key, _, values = text.partition("=")
            choices = [Choice([f"{key.strip()}={value.strip()}"]) for value in re.split(r",(?![^(\[{]*[)\]}])", values)]
    except ValueError as error:
        raise UserError(f"axis '{text}': {error}.") from error
    if min(len(set(choices)), len({choice.name for choice in choices})) < max(2, len(choices)) or not all(
        choice and all(re.fullmatch(r"[\w.]+=.+", option) for option in choice) for choice in choices
    ):
        raise UserError(
            f"axis '{text}': takes KEY=VALUE,VALUE,... or 'KEY=VALUE KEY=VALUE | KEY=VALUE ...', "
            "two choices at least, no two alike."
        )
    for choice in choices:
        check_keys(keys_of(choice), f"axis '{text}'")
    return choices


def keys_of(options):
    """The keys of texts KEY=VALUE, in their order."""
    return [option.partition("=")[0] for option in options]


def check_keys(keys, where):
    """UserError, which begins with `where`, for a key that cannot be varied, or is among them twice."""
    for key in sorted(GIVEN.keys() & set(keys)):
        raise UserError(f"{where}: {key} is not to be varied: {GIVEN[key]}.")
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"{where}: {key} is varied twice, and the later value would replace the earlier one. Name it once.")


def load_checked(path, options):
    """`load_config`; UserError also where what there is to train names something unknown."""
    from recipe.training import check_names  # whoever only reads the table of trials does without

    config = load_config(path, options)
    for section in (config.student, *[config.teacher] * any(_lacking(config.student))):
        check_names(section)
    return config


def plan(axes, seeds):
    """All trials, seed by seed, so that an interrupted ablation has compared all settings on some seeds.

    UserError where two axes vary the same key.
    """
    check_keys([key for axis in axes for key in dict.fromkeys(keys_of(itertools.chain(*axis)))], "the axes")
    return [Trial(choices, seed) for seed in seeds for choices in itertools.product(*axes)]


class Workplace:
    """The folder of an ablation: trials/, teachers/, timing/ and pixels/, a cache that all of them share.

    Each training has a run folder of its own there, with its whole config in trial.py: `python m11.py .../trial.py` is that trial
    again. Students are exported there, and their answers to the held-out pictures kept. Nothing else is written into the folder of
    the run that the config names, but the views.npy of a teacher there, which its students share.
    """

    def __init__(self, folder, config_path, base_options):
        self.folder, self.config_path, self.base_options = Path(folder), config_path, list(base_options)
        self._learnt_from = {}  # what pictures a config names -> (a trial's folder, the pictures that were found there then)

    def config(self, trial):
        """The trial's config, before it is known who teaches it; UserError for a wrong key, type or value."""
        return load_config(self.config_path, [*self.base_options, *trial.options, f"seed={trial.seed}"])

    def digest(self):
        """A short word for what all trials have in common: other settings, another word."""
        config = load_config(self.config_path, self.base_options)
        return hashlib.sha256(repr([_what_it_learns(config, stage) for stage in ("student", "teacher")]).encode()).hexdigest()[:12]

    def check(self, trials, budget=None):
        """Raise the UserErrors that need not wait until something was trained: of settings, of epochs, and of pictures to draw."""
        numbers = {}
        if budget and any("student.epochs" in keys_of(trial.options) for trial in trials):
            raise UserError("student.epochs: is what --budget chooses, so it cannot be varied. Leave one of the two out.")
        settings = dict.fromkeys((*self.base_options, *trial.options) for trial in trials)
        for config in [load_config(self.config_path), *(load_checked(self.config_path, options) for options in settings)]:
            if budget and not config.student.epochs:
                raise UserError("student.epochs=0: the head alone is trained, so there are no epochs for --budget to choose.")
            if config.data.draw_textiles:
                numbers.setdefault(config.data.root, set()).add(config.data.draw_textiles)
        for root, drawn in numbers.items():
            if len(drawn) > 1:  # they would replace each other's, and those of the run that the config names
                raise UserError(
                    f"data.draw_textiles: {root} cannot hold {drawn} pictures at once. Give each number its own data.root."
                )

    def train(self, trial, budget=None, watch=None):
        """Train the trial, and its teacher where there is none yet, unless that is done.

        budget: minutes, see `epochs_within`. watch: see `run_script`; of the student alone.
        """
        if self.is_finished(trial):
            return
        config, teacher_accuracy = self.with_teachers(trial)
        if budget:
            config = _changed(config, "student", epochs=self.epochs_within(trial, config, budget))
        notes = {"teacher_accuracy": teacher_accuracy, "budget": budget, "files": _named_files(config.student)}
        self.run("student", "trials", trial.name, config, watch, **notes)

    def export(self, trial, int8=False):
        """Export the trial's student, with int8 in both kinds, unless that is done; returns the `ScriptFailed` if any."""
        place = self.place(trial).path
        with scripts.alone(place / "lock") as lock:
            if not self.is_exported(trial, int8):
                how = ["--no-report", "--no-test", *["--int8"] * int8]  # nothing may be chosen by the test part
                try:
                    scripts.run_script("export_openvino.py", place, [place, *how], lock, said="export.txt")
                except ScriptFailed as error:
                    return error
                write_json(place / "export.json", {"int8": int8})
        return None

    def is_exported(self, trial, int8=False):
        noted = self.place(trial).path / "export.json"
        return noted.is_file() and read_json(noted)["int8"] >= int8

    def networks(self, trial, int8=False):
        """{kind: path} of the trial's exported networks; INT8 only where asked for, and where it lost too little to be refused."""
        exported = self.place(trial).exported
        kinds = {FP32: exported.network, **({INT8: exported.network_int8} if int8 else {})}
        return {kind: path for kind, path in kinds.items() if path.is_file()} if self.is_exported(trial) else {}

    def with_teachers(self, trial):
        """(the trial's config with its teachers' files named, their OOF accuracy or None); trains them if there are none."""
        config = self.config(trial)
        oof, in_the_loop, models = _lacking(config.student)
        if not (oof or in_the_loop):
            return config, None
        folder = self.teacher(trial, with_models=models)
        links = {"oof": str(folder.oof)} if oof else {}
        if in_the_loop:
            links["online_teachers"] = tuple(str(folder.fold(k).best) for k in range(config.teacher.num_folds))
        return _changed(config, "student", **links), folder.results()["teacher"]["oof_accuracy"]

    def teacher_name(self, trial):
        """A folder's name, the same for trials that learn from the same teacher; None for one that needs none from here."""
        return folder_name(_of_teacher(trial)) if any(_lacking(self.config(trial).student)) else None

    def teacher(self, trial, with_models):
        """The run folder of the teacher that the trial's config describes: the config's own if it is that one, else one from here.

        with_models: are its checkpoints needed, or is its OOF table enough?
        """
        options = _of_teacher(trial)
        config = load_config(self.config_path, [*self.base_options, *options])  # of the config's seed, for the trials of all seeds
        own = RunFolder(config.folder)
        if _is_ready_teacher(own, config, with_models):
            return own
        return self.run("teacher", "teachers", folder_name(options), config)

    def run(self, stage, kind, name, config, watch=None, **notes):
        """Train a stage of `config` in folder/kind/name, unless it has finished there; returns that `RunFolder`."""
        place = self.folder / kind / name
        config_path, done = place / "trial.py", place / "trial.json"
        place.mkdir(parents=True, exist_ok=True)
        with scripts.alone(place / "lock") as lock:  # several shards may need the same teacher: one trains it, the others wait
            if not done.is_file():
                script, clock = {"teacher": "e4.py", "student": "m11.py"}[stage], place / "seconds.json"
                here = self._placed(config, place)
                write_text(config_path, f"# python {script} {shlex.quote(str(config_path))}\n{as_python(here)}")
                with _stopwatch(clock):
                    scripts.run_script(script, place, [config_path], lock, watch)
                write_json(done, {**read_json(clock), **notes})
        if not _learnt_the_same(config_path, config, stage):
            raise _other_settings(place)
        return RunFolder(place)

    def _placed(self, config, place):
        """`config` with the run folder `place`, and the cache of those with its pictures."""
        here = dataclasses.replace(config, name=place.name, work_dir=str(place.parent), data=name_parts(config.data))
        return _changed(here, "data", cache=str(self.folder / "pixels" / _pictures_mark(config)))

    def epochs_within(self, trial, config, minutes):
        """Epochs of the student with which its training takes about `minutes`, from its start to the last of `final_epochs`.

        A short training is timed, once for all trials that differ in rates alone: two epochs, or one of each size.
        """
        timed = Trial(tuple(Choice(filter(_takes_time(config), choice)) for choice in trial.choices), seed=0)
        open_data(self.session(timed), preprocessing_of(config.student))  # or the first to be timed would make the cache
        number = max(2, len(config.student.train_sizes or ()))
        timing = _changed(self.with_teachers(timed)[0], "student", epochs=number, final_epochs=0)
        place = self.run("student", "timing", folder_name(timed.options), timing)
        rows = pd.read_csv(place.student.metrics)
        epochs = rows["seconds"] + rows["eval_seconds"]
        start = max(0.0, read_json(place.path / "trial.json")["seconds"] - epochs.sum())  # with the head's own stage
        rest = 60 * minutes - start - config.student.final_epochs * rows["seconds"].iloc[-1]
        return max(1, int(rest / epochs.mean()))

    def is_finished(self, trial):
        """Has the trial been trained, by whichever process?"""
        return self._notes(trial).is_file()

    def row(self, trial, budget=None):
        """One row of the table, of a trial that is finished: choices, seed, accuracies, minutes. Trains nothing."""
        place, notes = self.place(trial), read_json(self._notes(trial))
        stages = ["student", *["teacher"] * (notes["teacher_accuracy"] is not None)]
        trained, asked = load_comparable(place.path / "trial.py", *stages), self.config(trial)
        if trained is None:
            raise _other_settings(place.path)
        # What was found out on the way to the trial: its teachers' places, and the epochs that fit into the budget.
        found = {name: getattr(trained.student, name) for name in ("oof", "online_teachers") if not getattr(asked.student, name)}
        if budget:
            found["epochs"] = trained.student.epochs
        wanted = _changed(asked, "student", **found)
        if notes["budget"] != budget or any(_what_it_learns(trained, s) != _what_it_learns(wanted, s) for s in stages):
            raise _other_settings(place.path)
        self._check_same_pictures(place, trained)
        _check_same_files(place.path, notes.get("files", {}))
        reached = place.results()["student"]
        return {
            **{f"axis {i + 1}": choice.name for i, choice in enumerate(trial.choices)},
            "seed": trial.seed,
            "accuracy": reached.get("averaged_accuracy", reached["best_accuracy"]),
            "best_accuracy": reached["best_accuracy"],
            "teacher_accuracy": notes["teacher_accuracy"],
            "minutes": round(notes["seconds"] / 60, 2),
        }

    def _check_same_pictures(self, place, config):
        """UserError where the trial in `place` knew other pictures than an earlier one whose config names the same."""
        if not place.settings("student").is_file():
            return
        noted, named = read_json(place.settings("student")), repr((_pictures(config), config.data.corrections))
        found = {key: noted[key] for key in ("fingerprint", "held_out") if key in noted}
        earlier, known = self._learnt_from.setdefault(named, (place.path, found))
        if any(found[key] != known[key] for key in found.keys() & known.keys()):
            raise UserError(
                f"{place.path}: pictures, or their labels, changed between its training and that of {earlier}. "
                "Name another --output, or delete the one that was trained before the change."
            )

    def session(self, trial):
        """The trial's session, whether or not it was trained, with the pictures that all share."""
        place, config = self.place(trial), self.config(trial)
        return Session(self._placed(config, place.path), place, pick_device(config.device))

    def place(self, trial):
        return RunFolder(self.folder / "trials" / trial.name)

    def _notes(self, trial):
        return self.place(trial).path / "trial.json"


def _of_teacher(trial):
    """Those of the trial's options that its teacher is made with."""
    return [option for option in trial.options if not option.startswith("student.")]


def _lacking(student):
    """Of a teacher's files, what the student learns from and the config does not name: (oof.csv, its models in the loop, any)."""
    by_folds = student.labels_views and student.labelled_by_folds
    oof = not student.oof and (by_folds or (student.teacher_weight and student.distillation in ("oof", "both")))
    in_the_loop = not student.online_teachers and student.distillation in ("online", "both")
    return oof, in_the_loop, in_the_loop or (oof and by_folds)


def _takes_time(config):
    """option -> may an epoch of the student take longer or shorter by it? By all but its rates and shares, which are floats."""

    def takes_time(option):
        key = option.partition("=")[0]
        is_rate = key.startswith("student.") and isinstance(value_at(config, key), float)
        return not is_rate or key == "student.ema_decay"  # with an average, two networks are judged after each epoch

    return takes_time


def _other_settings(place):
    return UserError(
        f"{place}: was trained with other settings (trial.py in it) or another --budget. Name another --output, or delete it."
    )


def _named_files(student):
    """{path: SHA-256} of the files that the section names, and that are there."""
    named = [student.oof, student.views_by, student.weights, *student.online_teachers]
    return {path: _content(path) for path in named if path and expanded(path).is_file()}


def _check_same_files(place, noted):
    """UserError where one of the files that a trial learnt from, {path: SHA-256}, is another one by now."""
    for path, content in noted.items():
        if expanded(path).is_file() and _content(path) != content:
            raise UserError(f"{place}: learnt from another {path} than lies there now. Name another --output, or delete it.")


def _content(path):
    found = expanded(path).stat()
    return _sha256_of(expanded(path).absolute(), found.st_size, found.st_mtime_ns)


@lru_cache
def _sha256_of(path, *_):
    """Checkpoints are read once for all trials that learn from them."""
    return sha256(path)


@contextmanager
def _stopwatch(path):
    """Add the seconds that go by to those in the file `path`; of a process that is killed they are lost."""
    before, start = read_json(path)["seconds"] if path.is_file() else 0.0, time.monotonic()
    try:
        yield
    finally:
        write_json(path, {"seconds": round(before + time.monotonic() - start, 1)})


def _is_ready_teacher(folder, config, with_models):
    """Does the `RunFolder` hold a finished teacher, made with the settings and of the pictures that `config` says?"""
    models = [folder.fold(k).best for k in range(config.teacher.num_folds)] if with_models else []
    if "teacher" not in folder.results() or not all(path.is_file() for path in [folder.oof, folder.config("teacher"), *models]):
        return False
    return _learnt_the_same(folder.config("teacher"), config, "teacher")


def _learnt_the_same(path, config, stage):
    """Did the run whose whole config is in the file `path` learn in `stage` what `config` says?"""
    trained = load_comparable(path, stage)
    return trained is not None and _what_it_learns(trained, stage) == _what_it_learns(config, stage)


def _what_it_learns(config, stage):
    """What decides what a stage ("teacher", "student") learns: not its name and place, nor how the machine is made to work."""
    root, val_root, *more = *_pictures(config), config.data.corrections and expanded(config.data.corrections).absolute()
    # What judges the best epoch; a teacher's is chosen by its own fold.
    students = [val_root, config.data.unlabelled and expanded(config.data.unlabelled).absolute()] if stage == "student" else []
    kept = config.data.cache_format
    return getattr(config, stage), config.seed, root, *more, *students, *([] if kept == "auto" else [kept])


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


class Failures:
    """The errors of trials that failed. Where the first two fail for the same reason, the others would too: that is a UserError."""

    def __init__(self):
        self.errors = []

    def add(self, error, tried):
        """Of the trial that was the number `tried`, from 1; None: of one on some node, of whose failures another knows nothing."""
        self.errors.append(error)
        if tried is None:
            return
        reasons = {failure.reason for failure in self.errors}
        if tried == len(self.errors) == 2 and len(reasons) == 1:
            raise UserError(f"stopped, since two trials of two failed for one reason. {error}") from error


def run_trials(workplace, trials, budget, networks=(), nodes=None):
    """Train what is not trained yet, and export it in the kinds `networks`; a trial that fails is told and left out.

    nodes: the `Cluster` on whose nodes that is done, None: here, one after another. Returns the errors of those that failed.
    """
    failures, run = Failures(), partial(_run_on, nodes) if nodes else _run_here
    with closing(run(trials, workplace, budget, networks)) as ended:
        for i, (trial, row, error) in enumerate(ended):
            if row:
                log.info(f"{i + 1}/{len(trials)}  {trial.name}: accuracy {row['accuracy']:.4f} in {row['minutes']:.1f} min")
                tell_export(error)
            else:
                log.info(f"{i + 1}/{len(trials)}  {error}")
                failures.add(error, None if nodes else i + 1)
    return failures.errors


def tell_export(error):
    """Of a `Workplace.export` that failed."""
    if error:
        log.info(f"{error}. It is not timed.")


def _run_trial(trial, workplace, budget, networks):
    """(its row, the `ScriptFailed` of its export or None). Raises that of its training."""
    workplace.train(trial, budget)
    return workplace.row(trial, budget), workplace.export(trial, INT8 in networks) if networks else None


def _run_here(trials, *how):
    """Yield (trial, its row, or None where it was not trained, the `ScriptFailed` or None), one after another."""
    for trial in trials:
        try:
            yield trial, *_run_trial(trial, *how)
        except ScriptFailed as error:
            yield trial, None, error


def _run_on(nodes, trials, workplace, budget, networks):
    """As `_run_here`, as the trials end; what they learn from is trained before them."""
    missing = [t for t in trials if not workplace.is_finished(t) or (networks and not workplace.is_exported(t, INT8 in networks))]
    yield from _run_here([trial for trial in trials if trial not in missing], workplace, budget, networks)
    teachers = {name: trial for trial in missing if not workplace.is_finished(trial) and (name := workplace.teacher_name(trial))}
    tasks = [
        Task(f"teacher {name}", workplace.with_teachers, (trial,), workplace.folder / "teachers" / name / "output.txt")
        for name, trial in teachers.items()
    ]
    with closing(nodes.run(tasks)) as ended:
        for done in ended:
            log.info(f"{done.task.name} on {done.node}: {done.error or 'done'}")  # where it failed, its trials will
    tasks = [
        Task(trial.name, _run_trial, (trial, workplace, budget, networks), workplace.place(trial).path / "output.txt")
        for trial in missing
    ]
    with closing(nodes.run(tasks)) as ended:
        for done in ended:
            yield done.task.arguments[0], *((None, done.told()) if done.error else done.value)
