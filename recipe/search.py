"""A search over settings by Optuna: what to try next follows from what was reached, and hopeless trials are stopped early."""

import os
import re
from contextlib import closing
from dataclasses import dataclass

import optuna
import pandas as pd
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock, JournalStorage
from optuna.trial import TrialState

from common.errors import UserError
from common.files import make_folder
from recipe.ablation import INT8, Choice, Failures, Trial, check_keys, keys_of, parse_axis, tell_export
from recipe.cluster import Task
from recipe.judging import network_of, untrained_fps
from recipe.scripts import ScriptFailed, ScriptKilled
from recipe.speed import quietly
from utils.config import load_resolved, value_at
from utils.metrics import contest_score
from utils.runlog import log, start_printing

RANGE = re.compile(r"(?P<key>[\w.]+)=(?P<low>[^:,|]+)\.\.(?P<high>[^:,|]+?)(?P<log>:log)?")
REPORTED = range(10, 100, 10)  # percent of a trial's epochs at which it is compared with the others
FIRST_COMPARED = 30  # percent: before that a trial is not stopped
ALWAYS_TRAINED = 5  # trials that are trained to their end before any is stopped
REPEATS = 20  # draws in a row that were there before: then there is nothing new to try


@dataclass(frozen=True)
class Parameter:
    """What a search varies: a number between two, or one of several choices."""

    name: str
    distribution: BaseDistribution
    choices: tuple[Choice, ...] = ()

    def choice(self, value):
        """What a value of the distribution stands for."""
        if self.choices:
            return self.choices[value]
        if isinstance(self.distribution, IntDistribution):
            return Choice([f"{self.name}={value}"])
        rounded = float(f"{value:.3g}")
        return Choice([f"{self.name}={min(max(rounded, self.distribution.low), self.distribution.high):g}"])

    @property
    def extremes(self):
        """All choices; of a number the least and the largest."""
        return self.choices or tuple(self.choice(end) for end in (self.distribution.low, self.distribution.high))


def parse_parameter(text, load):
    """`KEY=LOW..HIGH`, with `:log` for even steps of its logarithm, or choices as `recipe.ablation.parse_axis` reads them.

    load: texts KEY=VALUE -> the `RunConfig` with them. UserError for what is neither, or out of the key's range.
    """
    found, where = RANGE.fullmatch(text.strip()), f"--search '{text}'"
    if not found and re.fullmatch(r"[^,|]*\.\.[^,|]*", text):
        raise UserError(f"{where}: takes KEY=LOW..HIGH, or KEY=LOW..HIGH:log for even steps of the logarithm.")
    if not found:
        choices = tuple(parse_axis(text))
        for choice in choices:
            load(choice)
        name = " ".join(dict.fromkeys(key for choice in choices for key in keys_of(choice)))
        return Parameter(name, CategoricalDistribution(range(len(choices))), choices)
    key = found["key"]
    check_keys([key], where)
    low, high = (_number(load([f"{key}={end}"]), key, where) for end in (found["low"], found["high"]))
    if type(low) is not type(high) or low >= high:
        raise UserError(f"{where}: takes KEY=LOW..HIGH with a number below another.")
    if found["log"] and low <= 0:
        raise UserError(f"{where}: a logarithm needs a range above 0, such as 1e-4..{found['high']}:log.")
    kind = IntDistribution if isinstance(low, int) else FloatDistribution
    return Parameter(key, kind(low, high, log=bool(found["log"])))


def _number(config, key, where):
    value = value_at(config, key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {key} is no number, so it has no range. Name its values: {key}=A,B.")
    return value


class Search:
    """A search whose state lies in the workplace's folder, for any number of processes, one after another or at once."""

    def __init__(self, workplace, parameters, seed, *, budget=None, goal="accuracy", target=162.5):
        """goal: `accuracy` or `score`, the contest's with full marks for speed from `target` pictures a second."""
        self.workplace, self.parameters, self.seed, self.budget = workplace, parameters, seed, budget
        self.goal, self.target = goal, target
        self.folder = workplace.folder / "search"
        make_folder(self.folder)
        check_keys([key for parameter in parameters for key in parameter.name.split()], "--search")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with FileLock(self.folder / "next.lock"):
            self.study = optuna.create_study(
                storage=_open_journal(self.folder / "journal"), study_name="search", load_if_exists=True,
                direction="maximize", pruner=optuna.pruners.MedianPruner(ALWAYS_TRAINED, FIRST_COMPARED),
            )  # fmt: skip
            self._check_same()

    def _check_same(self):
        """One search has one space, one goal, and the same settings besides."""
        what = {p.name: f"{p.distribution} {p.choices}" for p in self.parameters}
        what |= {"goal": f"{self.goal}, {self.target:g} FPS" if self.goal == "score" else self.goal, "budget": str(self.budget)}
        what["the config"] = self.workplace.digest()
        before = self.study.user_attrs.get("what", what)
        if before != what and self.study.get_trials(deepcopy=False):
            changed = ", ".join(sorted(key for key in before.keys() | what.keys() if before.get(key) != what.get(key)))
            raise UserError(f"{self.folder}: holds another search ({changed} differ). Name another --output, or delete it.")
        self.study.set_user_attr("what", what)

    def run(self, number, networks=(), *, on_node=False):
        """Try until `number` different settings were tried, by all processes together; exports them in the kinds `networks`.

        on_node: of a cluster, which tries again where a script is killed, so that `ScriptKilled` is raised.
        Returns the errors of those that failed here. Where the first two fail for the same reason, the others would too: UserError.
        """
        failures, tried = Failures(), 0
        # Other errors than of a trial, such as of pictures that are not there, end the search; the same command takes the trial up.
        while (drawn := self._next(number)) is not None:
            asked, trial, lock = drawn
            place, tried = f"{len(self._names())}/{number}  {trial.name}", tried + 1
            try:
                self._try(asked, trial, place)
                if networks:
                    tell_export(self.workplace.export(trial, INT8 in networks))
            except optuna.TrialPruned as pruned:
                self.study.tell(asked, state=TrialState.PRUNED)
                log.info(f"{place}: stopped after {pruned}")
            except ScriptFailed as error:
                if on_node and isinstance(error, ScriptKilled):
                    raise  # the next try takes it up
                self.study.tell(asked, state=TrialState.FAIL)
                log.info(f"{place}: failed. {error}")
                failures.add(error, tried)
            finally:
                lock.release()
        return failures.errors

    def run_on(self, nodes, number, networks=()):
        """`run` by as many tasks as the `Cluster` `nodes` has room for; they share the search's folder as processes here do."""
        tasks, failures = [], []
        for i in range(min(number, nodes.slots or number)):
            said = self.workplace.folder / "ray" / f"search{i}" / "output.txt"
            how = {"seed": self.seed, "budget": self.budget, "goal": self.goal, "target": self.target}
            arguments = self.workplace, self.parameters, how, number, networks, said
            tasks.append(Task(f"search {i}", _run_there, arguments, said))
        with closing(nodes.run(tasks)) as ended:
            for done in ended:
                failures += [done.told()] if done.error else done.value
        return failures

    def trials(self):
        """The `Trial`s that were trained to their end, in the order in which they were drawn."""
        numbered = {trial.user_attrs["name"]: self._trial(trial.params) for trial in self._told()}
        return [trial for trial in numbered.values() if self.workplace.is_finished(trial)]

    def best(self, number):
        """The `number` `Trial`s that reached most of what the search is for, the best first."""
        complete = [told for told in self._told() if told.state == TrialState.COMPLETE]
        ordered = sorted(complete, key=lambda told: told.value, reverse=True)
        trials = {told.user_attrs["name"]: self._trial(told.params) for told in ordered}
        return [trial for trial in trials.values() if self.workplace.is_finished(trial)][:number]

    def is_under_way(self):
        """Is any process at a trial?"""
        with FileLock(self.folder / "next.lock"):
            return any(self._is_held(trial.number) for trial in self.study.get_trials(states=[TrialState.RUNNING]))

    def describe(self):
        """What became of the trials, in a line, and which settings mattered."""
        trials = self._told()
        pruned = {trial.user_attrs["name"] for trial in trials if trial.state == TrialState.PRUNED}
        text = f"{len(self.trials())} settings trained, {len(pruned)} stopped early since others were better by then"
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        if len(self.parameters) > 1 and len({trial.value for trial in complete}) > 4:
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            importance = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
            text += "; what mattered: " + ", ".join(f"{name} {share:.0%}" for name, share in importance.items())
        return text

    def table(self):
        """All that Optuna knows of the trials, a row each."""
        return self.study.trials_dataframe(attrs=("number", "state", "value", "params", "user_attrs", "datetime_start", "duration"))

    def _next(self, number):
        """(Optuna's trial, the `Trial`, its lock), or None where nothing is left to do. Takes up what killed processes left."""
        with FileLock(self.folder / "next.lock"):  # one process draws at a time
            self._take_up_orphans()
            for _ in range(REPEATS):
                if len(self._names()) >= number and not self.study.get_trials(states=[TrialState.WAITING]):
                    return None
                # The same draws before and after an interruption, where one process after another asks.
                self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(self.study.trials))
                known = self._names()
                asked = self.study.ask({parameter.name: parameter.distribution for parameter in self.parameters})
                trial = self._trial(asked.params)
                if trial.name in known and "taken_up" not in asked.user_attrs:
                    self._repeat(asked, trial)
                    continue
                asked.set_user_attr("name", trial.name)
                lock = self._lock(asked.number)
                lock.acquire()
                return asked, trial, lock
        log.info("the same settings are drawn again and again: there is nothing new to try")
        return None

    def _take_up_orphans(self):
        free = {trial.number for trial in self.study.get_trials(states=[TrialState.RUNNING]) if not self._is_held(trial.number)}
        # A process tells what became of its trial before it lets go of it, so what is still said to be running now is an orphan.
        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            if trial.number in free:
                self.study.enqueue_trial(trial.params, user_attrs={"taken_up": trial.number})
                self.study.tell(trial.number, state=TrialState.FAIL)

    def _lock(self, number):
        """Held by the process that a trial is with, as long as it lives."""
        return FileLock(self.folder / f"{number}.lock")

    def _is_held(self, number):
        try:
            with self._lock(number).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _repeat(self, asked, trial):
        """What was reached before is reached again; what is under way, or failed, is not asked twice."""
        before = [t for t in self._told() if t.user_attrs["name"] == trial.name and t.state == TrialState.COMPLETE]
        asked.set_user_attr("name", trial.name)
        self.study.tell(asked, before[0].value if before else None, state=None if before else TrialState.FAIL)

    def _told(self):
        """Optuna's trials that were given settings."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if "name" in trial.user_attrs]

    def _names(self):
        return {trial.user_attrs["name"] for trial in self._told()}

    def _trial(self, params):
        return Trial(tuple(parameter.choice(params[parameter.name]) for parameter in self.parameters), self.seed)

    def _try(self, asked, trial, place):
        try:
            self.workplace.config(trial)
        except UserError as error:  # of settings that do not go together
            raise ScriptFailed(self.workplace.place(trial).path, "m11.py", str(error), said=None) from error
        fps = self._fps(asked, trial) if self.goal == "score" else None
        value = lambda accuracy: accuracy if fps is None else float(contest_score(accuracy, fps, target=self.target))  # noqa: E731
        self.workplace.train(trial, self.budget, _Watch(asked, self.workplace.place(trial), value))
        row = self.workplace.row(trial, self.budget)
        self.study.tell(asked, value(row["accuracy"]))
        score = "" if fps is None else f", score {value(row['accuracy']):.4f} at {fps:.0f} FPS"
        log.info(f"{place}: accuracy {row['accuracy']:.4f}{score} in {row['minutes']:.1f} min")

    def _fps(self, asked, trial):
        """Pictures a second of the trial's network; each network is timed once, by whichever process comes first."""
        network = network_of(self.workplace, trial)
        known = [told.user_attrs["fps"] for told in self._told() if told.user_attrs.get("network") == network]
        fps, busy = (known[0], None) if known else quietly(lambda: untrained_fps(self.workplace, trial))
        for name, value in {"fps": fps, "others_busy": busy, "network": network}.items():
            asked.set_user_attr(name, value)
        return fps


def _open_journal(path):
    """Optuna's storage in the file `path`. A last line that is torn, since the disk was full, is cut off; UserError for others."""
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # or it would be the line that another process is writing
    try:
        if path.is_file() and not path.read_bytes().endswith(b"\n"):
            whole = path.read_bytes().rpartition(b"\n")
            os.truncate(path, len(whole[0] + whole[1]))
    finally:
        lock.release()
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except ValueError as error:
        raise UserError(f"{path}: damaged, so the search cannot go on. Delete {path.parent}: finished trials stay.") from error


def _run_there(workplace, parameters, how, number, networks, said):
    """`Search.run` on a node, which says in the file `said` what it does."""
    with open(said, "w") as file:
        start_printing(file)
        try:
            return Search(workplace, parameters, **how).run(number, networks, on_node=True)
        finally:
            start_printing(None)


class _Watch:
    """Tells Optuna what a trial's epochs reach, and raises TrialPruned where others were better by then."""

    def __init__(self, asked, place, value):
        self.asked, self.place, self.value, self.told = asked, place, value, set()

    def __call__(self):
        if not self.place.student.metrics.is_file():
            return
        rows, epochs = pd.read_csv(self.place.student.metrics), load_resolved(self.place.path / "trial.py").student.epochs
        column = "ema_accuracy" if "ema_accuracy" in rows else "accuracy"
        for percent in REPORTED:
            reached = rows[rows["epoch"] >= epochs * percent / 100]
            if len(reached) and percent not in self.told:
                self.told.add(percent)
                self.asked.report(self.value(float(reached[column].iloc[0])), percent)
                if self.asked.should_prune():
                    raise optuna.TrialPruned(f"{percent} % of its epochs, at {reached[column].iloc[0]:.4f}")
