"""A search: ranges and choices, hopeless trials stopped, shared by processes, gone on with after any of them is killed."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import optuna
import pandas as pd
import psutil
import pytest
from helpers import REPO
from optuna.distributions import FloatDistribution, IntDistribution
from processes import in_parallel, kill_once_there

import ablate
from common.errors import UserError
from common.files import write_csv, write_json, write_text
from recipe.ablation import Choice, Trial, Workplace
from recipe.scripts import ScriptFailed
from recipe.search import Search, parse_parameter
from utils.config import load_config

CONFIG = """
name = "t"
work_dir = {work_dir!r}
data = dict(root="nowhere", val_root="nowhere")
student = dict(weights="none", epochs=10, final_epochs=0, teacher_weight=0.0)
"""
RATES = "student.lr=1e-4..1e-1:log"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.py"
    write_text(path, CONFIG.format(work_dir=str(tmp_path / "runs")))
    return path


@pytest.fixture
def load(config):
    return lambda options: load_config(config, options)


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """The names of the trials whose training began, each with its learning rate; what it reaches follows from that."""
    folder = tmp_path / "trained"
    folder.mkdir()

    def call(script, place, arguments, lock, watch=None, said=""):
        student = load_config(place / "trial.py").student
        with open(folder / place.name, "a") as file:
            file.write(f"{student.lr}\n")
        if student.dropout == 0.5:
            raise ScriptFailed(place, script, "the loss is not finite")
        if os.environ.get("KILL") == place.name:
            os.kill(os.getpid(), signal.SIGKILL)
        rows = [{"epoch": k + 1, "accuracy": (k + 1) / student.epochs * (1 - student.lr)} for k in range(student.epochs)]
        for k in range(student.epochs):
            write_csv(place / "student" / "metrics.csv", pd.DataFrame(rows[: k + 1]).assign(seconds=1.0, eval_seconds=0.0))
            if watch:
                watch()
        write_json(place / "results.json", {"student": {"best_accuracy": 1 - student.lr}})

    monkeypatch.setattr("recipe.scripts.run_script", call)
    monkeypatch.setattr("recipe.ablation.open_data", lambda run, preprocessing: None)
    paths = pd.Index(range(1000), name="path")

    def right_answers(workplace, trial, kind):
        return pd.Series(np.arange(1000) < 1000 * workplace.place(trial).results()["student"]["best_accuracy"], paths)

    monkeypatch.setattr("recipe.judging.right_answers", right_answers)
    return lambda: {path.name: path.read_text().split() for path in folder.iterdir()}


def new_search(config, texts, **how):
    place = config.parent / "runs" / "t" / "ablation"
    parameters = [parse_parameter(text, lambda options: load_config(config, options)) for text in texts]
    return Search(Workplace(place, str(config), []), parameters, 42, **how)


def test_ranges_are_of_the_keys_own_type_and_choices_are_as_of_an_axis(load):
    rate, batch = parse_parameter(RATES, load), parse_parameter("student.batch_size=16..64", load)
    assert rate.distribution == FloatDistribution(1e-4, 1e-1, log=True)
    assert batch.distribution == IntDistribution(16, 64)
    assert (rate.choice(0.00123456), batch.choice(17)) == (("student.lr=0.00123",), ("student.batch_size=17",))
    assert rate.choice(1e-4) == ("student.lr=0.0001",)
    sizes = parse_parameter("student.resize=110 student.image_size=96 | student.resize=128 student.image_size=112", load)
    assert sizes.name == "student.resize student.image_size"
    assert sizes.choice(1) == ("student.resize=128", "student.image_size=112")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student.lr=1e-2..1e-4", "a number below another"),
        ("student.lr=1e-3..1e-3", "a number below another"),
        ("student.lr=0..1", "must be a number above 0"),
        ("student.weight_decay=0..1:log", "a range above 0"),
        ("student.dropout=0..1.5", "must be a number"),
        ("student.batch_size=16..64.5", "takes a whole number"),
        ("student.lrr=1e-4..1e-2", "Did you mean 'student.lr'"),
        ("student.backbone=a..b", "is no number"),
        ("student.flip_test=False..True", "is no number"),
        ("student.resize=None..300", "takes KEY=LOW|is no number"),
        ("student.epochs=1,many", "takes a whole number"),
        ("student.backbone=mobilenet_v3_small,mobilnet", "mobilnet"),
        ("student.lr=1e-4", "takes KEY=VALUE,VALUE"),
        ("student.lr=1e-4..1e-2:lg", "takes KEY=LOW..HIGH, or KEY=LOW..HIGH:log"),
        ("student.lr=1e-3,1e-2 | student.lr=1e-3 student.lr=1e-2", "student.lr"),
        ("student.mixing=mixup student.lr=1e-3 | student.mixing=none", "student.mixing is varied twice"),
        ("data.draw_textiles=14..70", "cannot hold"),
        ("seed=1..9", "seed is not to be varied"),
    ],
)
def test_bad_ranges_are_told_before_anything_is_trained(config, trained, text, message):
    with pytest.raises(UserError, match=message):
        ablate.main([str(config), "--search", "student.mixing=cutmix,none", "--search", text, "--no-speed"])
    assert not trained()


@pytest.mark.parametrize("options", [["--axis", "a=1,2"], ["--seeds", "2"], ["--shard", "0/2"], ["--trials", "0"], ["--goal", "x"]])
def test_what_does_not_go_with_a_search_is_refused(config, trained, options):
    with pytest.raises(SystemExit):
        ablate.main([str(config), "--search", RATES, *options])
    with pytest.raises(SystemExit):
        ablate.main([str(config), "--axis", "student.lr=1,2", "--trials", "3"])
    assert not trained()


def test_a_search_is_a_table_like_any_other_and_goes_on_to_more_trials(config, trained, capsys):
    arguments = [str(config), "--search", RATES, "--search", "student.mixing=cutmix,none", "--no-speed"]
    ablate.main([*arguments, "--trials", "4"])
    first = trained()
    assert len(first) == 4
    ablate.main([*arguments, "--trials", "9"])
    assert len(trained()) == 9
    assert {name: rates for name, rates in trained().items() if name in first} == first
    ablate.main([*arguments, "--trials", "9", "--report"])
    assert len(trained()) == 9
    place = config.parent / "runs" / "t" / "ablation"
    stopped = (pd.read_csv(place / "search.csv")["state"] == "PRUNED").sum()
    rows = pd.read_csv(place / "trials.csv")
    assert len(rows) == 9 - stopped
    assert set(rows["axis 2"]) == {"student.mixing=cutmix", "student.mixing=none"}
    best = min(float(rates[0]) for rates in trained().values())
    assert rows["accuracy"].max() == pytest.approx(1 - best, abs=1e-3)
    assert "what mattered: student.lr" in capsys.readouterr().out


def test_the_command_at_the_end_trains_the_best_with_more_seeds(config, trained, capsys):
    """What the search trained of them is taken as it is."""
    how = ["--no-speed", "--budget", "2", "--cfg-options", "student.dropout=0.1"]
    ablate.main([str(config), "--search", RATES, "--trials", "5", *how])
    place = config.parent / "runs" / "t" / "ablation"
    best = pd.read_csv(place / "table.csv")["axis 1"].head(3).tolist()
    before = trained()
    command = shlex.split(capsys.readouterr().out.splitlines()[-1].partition("ablate.py")[2])
    ablate.main([*command, "--no-speed"])
    assert set(trained()) - set(before) == {f"{name}_seed={seed}" for name in best for seed in (43, 44)}
    (of_the_best,) = place.glob("parts/*/table.csv")  # the search's own is kept
    assert pd.read_csv(of_the_best)["seeds"].tolist() == [3, 3, 3]
    assert len(pd.read_csv(place / "table.csv")) == 5


def test_the_best_of_a_search_are_those_of_its_goal(config, trained, capsys, monkeypatch):
    fps = {"gem": 20.0, "avg": 200.0}
    monkeypatch.setattr("recipe.search.untrained_fps", lambda workplace, trial: fps[workplace.config(trial).student.pooling])
    how = ["--goal", "score", "--target", "100", "--trials", "8", "--no-speed"]
    ablate.main([str(config), "--search", "student.lr=1e-4..1e-1", "--search", "student.pooling=gem,avg", *how])
    found = pd.read_csv(config.parent / "runs" / "t" / "ablation" / "search.csv")
    found = found[found["state"] == "COMPLETE"].sort_values("value", ascending=False).drop_duplicates("user_attrs_name")
    command = shlex.split(capsys.readouterr().out.splitlines()[-1].partition("ablate.py")[2])
    (axis,) = (command[i + 1] for i, word in enumerate(command) if word == "--axis")
    named = [f"{choice.strip().replace(' ', '_')}_seed=42" for choice in axis.split("|")]
    assert named == found["user_attrs_name"].head(3).tolist()
    assert "pooling=avg" in named[0]
    assert command[command.index("--target") + 1] == "100"


def test_the_same_search_draws_the_same_whether_or_not_it_was_interrupted(config, trained, tmp_path):
    whole = new_search(config, [RATES])
    whole.run(8)
    names = set(trained())
    for file in (tmp_path / "trained").iterdir():
        file.unlink()
    os.rename(tmp_path / "runs", tmp_path / "before")
    for number in (1, 3, 8):
        new_search(config, [RATES]).run(number)
    assert set(trained()) == names


def test_hopeless_trials_are_stopped_and_what_they_learnt_is_no_result(config, trained):
    """Halfway, a trial's accuracy tells which rates are too high; only some are trained to their end."""
    search = new_search(config, ["student.lr=1e-3..0.9"])
    search.run(20)
    states = search.table().set_index("user_attrs_name")["state"]
    pruned = [name for name, state in states.items() if state == "PRUNED"]
    assert 3 < len(pruned) < 15
    finished = {trial.name for trial in search.trials()}
    assert not finished & set(pruned)
    assert len(finished) + len(pruned) == 20
    rates = trained()
    assert min(float(rates[name][0]) for name in pruned) > min(float(rates[name][0]) for name in finished)


def test_processes_share_a_search_and_train_nothing_twice(config, trained):
    assert in_parallel(lambda _: new_search(config, [RATES]).run(12), range(3)) == [0] * 3
    assert len(trained()) == 12
    assert all(len(begun) == 1 for begun in trained().values())


def test_what_a_killed_process_left_is_taken_up_by_the_next(config, trained):
    new_search(config, [RATES]).run(2)
    others = set(trained())
    probe = new_search(config, [RATES])

    def killed(_):
        original = Workplace.train

        def train(self, trial, budget=None, watch=None):
            os.environ["KILL"] = trial.name
            original(self, trial, budget, watch)

        Workplace.train = train
        new_search(config, [RATES]).run(3)

    assert in_parallel(killed, [0]) == [-signal.SIGKILL]
    (left,) = set(trained()) - others
    probe.run(3)
    assert len(trained()) == 3
    assert len(trained()[left]) == 2  # begun again in the same folder, where m11.py goes on
    assert left in {trial.name for trial in probe.trials()}


def test_what_another_process_is_at_is_left_to_it(config, trained):
    busy = new_search(config, [RATES])
    _, trial, lock = busy._next(3)
    assert in_parallel(lambda _: new_search(config, [RATES]).run(3), [0]) == [0]
    assert len(trained()) == 2
    assert trial.name not in trained()
    lock.release()


def test_a_trial_that_ends_while_another_process_looks_for_orphans_is_none(config, trained, monkeypatch):
    search, other = new_search(config, [RATES]), new_search(config, [RATES])
    asked, trial, lock = other._next(2)
    is_held = Search._is_held

    def ends_now(self, number):
        if self is search and lock.is_locked:
            other._try(asked, trial, "")
            lock.release()
        return is_held(self, number)

    monkeypatch.setattr(Search, "_is_held", ends_now)
    search.run(2)
    assert sorted(search.table()["state"]) == ["COMPLETE", "COMPLETE"]
    assert [len(begun) for begun in trained().values()] == [1, 1]


def test_settings_that_fail_are_told_and_not_tried_again(config, trained, said):
    search = new_search(config, [RATES, "student.dropout=0.1,0.5"])
    errors = search.run(6)
    failed = [name for name in trained() if "dropout=0.5" in name]
    assert 0 < len(errors) == len(failed) < 6
    assert "the loss is not finite" in said.text
    new_search(config, [RATES, "student.dropout=0.1,0.5"]).run(6)
    assert all(len(begun) == 1 for begun in trained().values())


def test_settings_that_do_not_go_together_are_a_failed_trial(config, trained, said):
    search = new_search(config, ["student.image_size=200,256", "student.resize=230,400"])
    (error,) = search.run(4)
    assert "resize=230 is smaller than image_size=256" in str(error)
    assert len(trained()) == 3


def test_what_no_trial_is_to_blame_for_ends_the_search_and_the_trial_is_taken_up(config, trained, monkeypatch):
    def missing(workplace, trial):
        raise UserError("nowhere: no such folder")

    monkeypatch.setattr("recipe.search.untrained_fps", missing)
    with pytest.raises(UserError, match="no such folder"):
        new_search(config, [RATES], goal="score").run(3)
    monkeypatch.setattr("recipe.search.untrained_fps", lambda workplace, trial: 50.0)
    search = new_search(config, [RATES], goal="score")
    search.run(3)
    assert len(trained()) == len(search.trials()) == 3


def test_a_network_that_cannot_be_built_is_a_failed_trial_and_not_the_end(textiles, config, trained, monkeypatch):
    """With 8 pixels little is left for densenet121 to pool."""
    text = config.read_text().replace('root="nowhere"', f"root={str(textiles / 'train')!r}")
    config.write_text(text.replace('val_root="nowhere"', f"val_root={str(textiles / 'validation')!r}"))
    searched = ["student.backbone=densenet121 student.image_size=16 | student.image_size=32", RATES]
    search = new_search(config, searched, goal="score")
    errors = search.run(3)
    assert errors
    assert all("densenet121 cannot take images of 16 pixels" in str(error) for error in errors)
    assert not any("densenet121" in name for name in trained())
    assert len(trained()) == len(search.trials()) == 3 - len(errors)


def test_names_in_the_options_are_known_before_a_search_begins(config, trained):
    with pytest.raises(UserError, match="unknown mixing 'cutmxi'"):
        ablate.main([str(config), "--search", RATES, "--no-speed", "--cfg-options", "student.mixing=cutmxi"])
    assert not trained()


def test_a_last_line_that_a_full_disk_tore_is_cut_off(config, trained):
    new_search(config, [RATES]).run(2)
    journal = new_search(config, [RATES]).folder / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole.splitlines(keepends=True)[-1][:9])
    search = new_search(config, [RATES])
    search.run(3)
    assert len(search.trials()) == len(trained()) == 3
    journal.write_bytes(whole[: len(whole) // 2] + b"}\n" + whole[len(whole) // 2 :])
    with pytest.raises(UserError, match="journal: damaged, so the search cannot go on"):
        new_search(config, [RATES])


def test_a_search_ends_where_there_is_nothing_new_to_try(config, trained, said):
    new_search(config, ["student.mixing=cutmix,none"]).run(5)
    assert len(trained()) == 2
    assert "nothing new to try" in said.text


def test_a_folder_holds_one_search(config, trained):
    new_search(config, [RATES]).run(1)
    for other in ({"texts": [RATES, "student.mixing=cutmix,none"]}, {"texts": [RATES], "goal": "score"}):
        with pytest.raises(UserError, match="holds another search"):
            new_search(config, **other)
    with pytest.raises(UserError, match="the config differ"):
        ablate.main([str(config), "--search", RATES, "--trials", "2", "--no-speed", "--cfg-options", "student.dropout=0.3"])
    with pytest.raises(UserError, match="varied twice"):
        new_search(config, [RATES, RATES])


def test_for_the_score_a_fast_network_may_be_less_accurate(config, trained, monkeypatch):
    fps = {"gem": 20.0, "avg": 200.0}
    timed = []

    def untrained_fps(workplace, trial):
        timed.append(trial)
        return fps[workplace.config(trial).student.pooling]

    monkeypatch.setattr("recipe.search.untrained_fps", untrained_fps)
    search = new_search(config, ["student.lr=1e-4..2e-1", "student.pooling=gem,avg"], goal="score", target=100)
    search.run(10)
    values = search.table().dropna(subset="value")
    complete = values[values["state"] == "COMPLETE"]
    for row in complete.itertuples():
        rate = float(trained()[row.user_attrs_name][0])
        speed = 1.0 if "avg" in row.user_attrs_name else 0.2
        assert row.value == pytest.approx(0.7 * (1 - rate) + 0.3 * speed)
    assert "avg" in complete.sort_values("value")["user_attrs_name"].iloc[-1]
    assert len(timed) == 2  # each network once


@pytest.fixture
def long_trial(textiles, tmp_path):
    """(workplace, trial) of a training that takes minutes."""
    config = tmp_path / "config.py"
    data = f"data = dict(root={str(textiles / 'train')!r}, val_root={str(textiles / 'validation')!r})"
    student = (
        'student = dict(weights="none", image_size=32, resize=36, batch_size=16, epochs=500, final_epochs=0, teacher_weight=0.0)'
    )
    write_text(config, f'name = "t"\nwork_dir = {str(tmp_path / "runs")!r}\nnum_threads = 1\n{data}\n{student}\n')
    return Workplace(tmp_path / "out", str(config), []), Trial((Choice(["student.lr=1e-3"]),), 1)


def processes_in(folder):
    """The processes whose arguments name the folder."""
    return [process for process in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(process.info["cmdline"] or [])]


def test_a_real_trial_is_stopped_in_the_middle_and_leaves_no_process(long_trial):
    workplace, trial = long_trial
    metrics = workplace.place(trial).student.metrics

    def watch():
        if metrics.is_file():
            raise optuna.TrialPruned("enough")

    with pytest.raises(optuna.TrialPruned):
        workplace.train(trial, watch=watch)
    assert 0 < len(pd.read_csv(metrics)) < 500
    assert not workplace.is_finished(trial)
    assert not processes_in(workplace.folder)


@pytest.mark.parametrize(
    ("script", "arguments", "number"),
    [
        ("ablate.py", ["--search", RATES, "--no-speed"], signal.SIGTERM),
        ("ablate.py", ["--search", RATES, "--no-speed"], signal.SIGINT),
        ("benchmarks/noise.py", ["--shares", "0", "--cfg-options", "study.axes=['student.lr=1e-3,1e-4']"], signal.SIGTERM),
    ],
)
def test_an_interrupted_script_ends_its_training_and_says_how_to_go_on(long_trial, script, arguments, number):
    workplace, _ = long_trial
    command = [sys.executable, REPO / script, workplace.config_path, "--output", workplace.folder, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(workplace.folder.rglob("student/metrics.csv")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    assert "The same command goes on" in process.communicate(timeout=60)[1]
    assert not processes_in(workplace.folder)


def test_a_trial_whose_ablation_was_killed_is_left_alone_until_its_training_ends(long_trial):
    workplace, trial = long_trial
    place = workplace.place(trial)
    kill_once_there(place.student.metrics, workplace.train, trial)
    (left,) = processes_in(workplace.folder)
    with open(place.path / "lock", "w") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left.kill()
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert not processes_in(workplace.folder)
