"""Folds, trials, a search and answers on a Ray cluster, whose nodes are killed: the same bytes as without, with as many threads."""

import argparse
import os
import pickle
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
from helpers import REPO, assert_same_weights, environment, refusal, run_script, write_config

import ablate
import e4
import predict
from common.errors import UserError
from common.files import write_csv
from recipe import cluster
from recipe.ablation import Failures, Workplace, parse_axis, plan, run_trials
from recipe.answer_parts import Answerer, AnswerParts
from recipe.scripts import ScriptFailed, ScriptKilled, run_alone

TRIALS = ("ablate.py", "config.py", "--axis", "student.mixing=cutmix,none", "--seeds", 1, "--no-speed")
FEW = ("--cfg-options", "teacher.epochs=2")


class Nodes:
    """A cluster whose head does no work, and nodes of one core on this machine."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        how = {"object_store_memory": 80 * 2**20}
        soon = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}  # when a node counts as dead
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon, **how}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes, self.how = [], how
        self.address = self.cluster.address

    def add(self, number):
        """Until there are that many."""
        while len(self.nodes) < number:
            self.nodes.append(self.cluster.add_node(num_cpus=1, **self.how))

    def kill(self, script):
        """The node under which the process `script` runs, which dies too, as with a machine."""
        node = next(
            node
            for node in self.nodes
            if node.all_processes["raylet"][0].process.pid in {parent.pid for parent in script.parents()}
        )
        worker = script.parent()
        worker.suspend()  # or it could still tell what became of the script
        script.kill()
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
        worker.kill()


@pytest.fixture(scope="module")
def nodes():
    try:
        import ray
    except ImportError:
        (pytest.fail if os.environ.get("REQUIRE_RAY") else pytest.skip)("needs: pip install -r requirements-ray.txt")
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    made = Nodes()
    made.add(2)
    yield made
    ray.shutdown()
    made.cluster.shutdown()


@pytest.fixture(scope="module")
def place(textiles, tmp_path_factory):
    """A folder with config.py, whose trainings last long enough to be killed."""
    folder = tmp_path_factory.mktemp("cluster")
    write_config(folder, textiles / "train", textiles / "validation")
    with open(folder / "config.py", "a") as file:
        file.write("teacher |= dict(num_folds=2, epochs=15)\nstudent |= dict(epochs=15, final_epochs=0)\n")
    return folder


def start(script, *arguments, cwd):
    """The script as a process of its own, which says all that it says to the file `said`."""
    with open(cwd / "said", "w") as said:
        command = [sys.executable, REPO / script, *map(str, arguments)]
        return subprocess.Popen(command, cwd=cwd, env=environment(), stdout=said, stderr=subprocess.STDOUT)


def ended(process, cwd):
    """What the process said, when it has ended well."""
    assert process.wait(240) == 0, (cwd / "said").read_text()
    return (cwd / "said").read_text()


def script_under_way(name, metrics):
    """A process that runs the script `name` for the cluster, as soon as it has itself written some epochs into `metrics(command)`.

    metrics: command, a list of strings -> the training's metrics.csv.
    """
    deadline = time.time() + 240
    while time.time() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                command = process.info["cmdline"] or []
                if not any(part.endswith(name) for part in command):
                    continue
                of_cluster = any(parent.name().startswith("ray::") for parent in process.parents()[:1])
                if of_cluster and metrics(command).read_text().count("\n") > 2:
                    return process
        time.sleep(0.02)
    raise AssertionError(f"{name} did not begin")


def fold_in(command):
    return command[command.index("--fold") + 1]


def test_folds_whose_node_dies_go_on_elsewhere_to_the_same_bytes(nodes, place):
    run_script("e4.py", "config.py", "--cfg-options", "work_dir=without", cwd=place)
    runs = place / "with" / "t"
    driver = start("e4.py", "config.py", "--ray", nodes.address, "--cfg-options", "work_dir=with", cwd=place)
    script = script_under_way("e4.py", lambda command: runs / "teacher" / f"fold{fold_in(command)}" / "metrics.csv")
    fold = fold_in(script.cmdline())
    nodes.kill(script)
    said = ended(driver, place)
    assert "fold 0 on" in said
    assert "fold 1 on" in said
    assert "epoch 1/15" not in (runs / "ray" / f"fold{fold}" / "output.txt").read_text()  # it went on from the last epoch
    without = place / "without" / "t"
    for file in ("oof.csv", "folds.csv", *(f"teacher/fold{k}/{name}" for k in (0, 1) for name in ("best.pth", "validation.csv"))):
        assert (runs / file).read_bytes() == (without / file).read_bytes(), file
    again = start("e4.py", "config.py", "--ray", nodes.address, "--cfg-options", "work_dir=with", cwd=place)
    assert "fold 0 on" not in ended(again, place)  # nothing is left to train


def test_trials_whose_node_dies_go_on_elsewhere_and_share_a_teacher(nodes, place):
    nodes.add(2)
    run_script(*TRIALS, "--output", "trials_without", *FEW, cwd=place)
    driver = start(*TRIALS, "--output", "trials_with", "--ray", nodes.address, *FEW, cwd=place)
    script = script_under_way("m11.py", lambda command: (place / command[-1]).parent / "student/metrics.csv")
    nodes.kill(script)
    assert "teacher base on" in ended(driver, place)
    tables = [pd.read_csv(place / folder / "trials.csv").drop(columns="minutes") for folder in ("trials_without", "trials_with")]
    pd.testing.assert_frame_equal(*tables)
    assert len(list(place.glob("trials_with/teachers/*"))) == 1
    for file in place.glob("trials_without/trials/*/student/best.pth"):
        assert_same_weights(place / "trials_with" / file.relative_to(place / "trials_without"), file)


def test_a_search_is_shared_by_the_nodes(nodes, place):
    nodes.add(2)
    searched = ["--search", "student.lr=1e-4..1e-2:log", "--trials", 3, "--no-speed", "--output", "searched"]
    options = ["--cfg-options", "student.teacher_weight=0.0", "student.epochs=2"]
    ended(start("ablate.py", "config.py", *searched, "--ray", nodes.address, *options, cwd=place), place)
    assert list(pd.read_csv(place / "searched" / "search.csv")["state"]) == ["COMPLETE"] * 3
    said = [file.read_text() for file in place.glob("searched/ray/search*/output.txt")]
    assert ["accuracy" in text for text in said] == [True, True]


def test_a_list_is_answered_in_parts_and_only_what_is_missing_again(nodes, exported, textiles, tmp_path):
    nodes.add(2)
    pictures = sorted(path.relative_to(textiles) for path in textiles.rglob("*.*"))
    write_csv(tmp_path / "list.csv", pd.DataFrame({"path": [*map(str, pictures), "nowhere.jpg"]}))
    listed = [exported, "--list", "list.csv", "--root", textiles]
    run_script("predict.py", *listed, "--output", "answers.csv", cwd=tmp_path)
    on_nodes = [*listed, "--output", "answers", "--ray", nodes.address]
    assert f"{len(pictures) + 1} answers in answers" in ended(start("predict.py", *on_nodes, cwd=tmp_path), tmp_path)
    answers = pd.read_parquet(tmp_path / "answers")
    expected = pd.read_csv(tmp_path / "answers.csv")
    assert list(answers.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(answers, expected, check_dtype=False, rtol=1e-6)


# Without a cluster


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        (e4, ["--ray", "configs/demo.py"], "other arguments stand before --ray"),
        (e4, ["configs/demo.py", "--cpus", "4"], "--cpus, --gpus and --dashboard are of a cluster"),
        (e4, ["configs/demo.py", "--ray", "--fold", "1"], "without --fold"),
        (ablate, ["configs/demo.py", "--ray", "--shard", "0/2"], "without --shard"),
        (predict, ["runs/demo", "PATH", "--ray"], "takes --output FOLDER"),
        (predict, ["runs/demo", "PATH", "--ray", "--output", "answers.csv"], "takes --output FOLDER"),
    ],
)
def test_arguments_that_do_not_go_with_a_cluster(script, arguments, words, capsys):
    with pytest.raises(SystemExit):
        script.parse(arguments)
    assert words in capsys.readouterr().err


def test_without_ray_the_way_to_it_is_told(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install -r requirements-ray.txt" in refusal(
        "e4.py", "config.py", "--ray", "--cfg-options", "work_dir=no", cwd=place
    )


def asked(**arguments):
    """Arguments as a script's parser leaves them."""
    return argparse.Namespace(**{"ray": cluster.LOCAL, "cpus": None, "gpus": None, "dashboard": False} | arguments)


def test_tasks_take_what_is_there_and_more_is_refused(tmp_path):
    nodes = [{"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}} for cpus, gpus in ((8, 1), (8, 0))]
    ray = SimpleNamespace(nodes=lambda: nodes)
    assert cluster.Cluster(ray, asked(), tmp_path).slots == 1  # a GPU each, where there are any
    assert cluster.Cluster(ray, asked(cpus=3, gpus=0), tmp_path).slots == 4
    assert cluster.Cluster(ray, asked(cpus=4, gpus=0.5), tmp_path).slots == 2
    with pytest.raises(UserError, match="--cpus 9 --gpus 1: the largest node has 8 CPUs and 1 GPUs"):
        cluster.Cluster(ray, asked(cpus=9), tmp_path)


def test_a_node_says_what_it_lacks(tmp_path, monkeypatch):
    enter = cluster._entrance(tmp_path / "token")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "PATIENCE", 0.0)
    assert f"does not see in {tmp_path} what the others write" in enter()[1]
    (tmp_path / "token").touch()
    assert enter()[1] is None
    monkeypatch.setattr(cluster, "REPO", tmp_path / "gone")
    node, lacks = cluster._entrance(tmp_path / "token")()
    assert lacks == f"node {node} has not the project: {tmp_path / 'gone'}. All nodes must see it at this path."


def test_a_fold_that_fails_is_told_with_its_node_and_the_others_are_kept(tmp_path, monkeypatch, said):
    tasks = [cluster.Task(f"fold {k}", None, (), tmp_path / "output.txt") for k in range(2)]
    error = ScriptFailed(tmp_path, "e4.py", "data.root: no such folder")
    ended = [cluster.Done(tasks[0], "north", error=error), cluster.Done(tasks[1], "south")]
    monkeypatch.setattr(cluster.Cluster, "__init__", lambda self: None)
    monkeypatch.setattr(cluster.Cluster, "run", lambda self, tasks: (done for done in ended))
    with pytest.raises(UserError, match=r"1 of 2 failed; the first, fold 0 on north: .*no such folder"):
        cluster.Cluster().run_all(tasks)
    assert "fold 1 on south: done" in said.text


def test_a_screen_shows_what_runs(tmp_path, capsys, monkeypatch):
    tasks = [cluster.Task(f"fold {k}", None, (), tmp_path / str(k) / "output.txt") for k in range(3)]
    for task in tasks[:2]:
        task.said.parent.mkdir()
        task.said.with_name("node.txt").write_text("north\n")
        task.said.write_bytes(b"begun\nepoch 1\repoch 2\r")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    screen = cluster.Screen(4)
    screen.show(tasks)
    screen.show(tasks[1:])
    first, second = capsys.readouterr().err.split("\x1b[3F\x1b[J")
    assert first == "fold 0 on north: epoch 2\nfold 1 on north: epoch 2\n1 of 4 done, 2 running, 1 waiting\n"
    assert second == "fold 1 on north: epoch 2\n2 of 4 done, 1 running, 1 waiting\n"


# The parts of a list


def parts(folder, names, made_with="one"):
    return AnswerParts(folder, ((name, Path(name)) for name in names), {"model": made_with})


def test_a_list_is_cut_and_answered_parts_are_left_alone(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("recipe.answer_parts.PART", 2)
    names = ["a.jpg", "b.jpg", "c.jpg"]
    with parts(tmp_path / "answers", names) as made:
        assert made.missing() == [0, 1]
        with pytest.raises(UserError, match="another process is writing it"), parts(tmp_path / "answers", names):
            pass
    answerer = Answerer(tmp_path / "answers", exported, False, None, 10**6, 1)
    answerer(1)
    with parts(tmp_path / "answers", names) as made:
        assert made.missing() == [0]
        assert made.tally(1) == (1, 1, "c.jpg: cannot be opened (No such file or directory)")


def test_answers_to_another_list_or_by_another_network_are_not_mixed(tmp_path):
    with parts(tmp_path / "answers", ["a.jpg"]):
        pass
    with (
        pytest.raises(UserError, match=r"begun by another command \(it differs in: list\)"),
        parts(tmp_path / "answers", ["b.jpg"]),
    ):
        pass
    with pytest.raises(UserError, match=r"it differs in: model"), parts(tmp_path / "answers", ["a.jpg"], "another"):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(UserError, match="a folder that holds other things"), parts(tmp_path / "mine", ["a.jpg"]):
        pass


def test_an_error_of_a_script_travels(tmp_path):
    error = pickle.loads(pickle.dumps(ScriptFailed(tmp_path, "m11.py", "the loss is not finite")))
    assert error.reason == "the loss is not finite"
    Failures().add(error, 1)


def test_a_study_that_failed_leaves_no_task_behind_and_names_all(monkeypatch, place, said):
    """Whatever failed on one node, the others go on."""
    errors, closed = [ScriptFailed(place, "m11.py", "no such folder"), UserError("node south has not the project: /here")], []

    def run(self, tasks):
        try:
            for task, error in zip(tasks, errors, strict=False):
                yield cluster.Done(task, "south", error=error)
        finally:
            closed.append(len(tasks))

    monkeypatch.setattr(cluster.Cluster, "__init__", lambda self: None)
    monkeypatch.setattr(cluster.Cluster, "run", run)
    monkeypatch.setattr(Workplace, "teacher_name", lambda self, trial: None)
    workplace = Workplace(place / "failing", place / "config.py", [])
    failed = run_trials(workplace, plan([parse_axis("student.lr=1e-3,2e-3")], [42]), None, (), cluster.Cluster())
    assert [str(error).partition(":")[0] for error in failed] == [
        "student.lr=1e-3_seed=42 on south",
        "student.lr=2e-3_seed=42 on south",
    ]
    assert closed == [0, 2]  # teachers and trials


def test_a_full_disk_on_a_node_is_told_there(tmp_path):
    (tmp_path / "file").touch()
    call = pickle.dumps((run_alone, ("script.py", tmp_path / "file" / "place", [])))
    assert isinstance(cluster.answer("north", tmp_path / "node.txt", call), UserError)


@pytest.mark.parametrize("script", ["e4", "m11", "predict"])
def test_scripts_start_where_there_are_no_file_locks(script):
    """As on Windows."""
    code = f"import sys; sys.modules['fcntl'] = None; import {script}"
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, env=environment())


def test_a_script_that_is_killed_is_tried_again_and_one_that_fails_is_not(tmp_path, monkeypatch):
    def call(ending):
        (tmp_path / "script.py").write_text(f"import os\nprint('begun', flush=True)\n{ending}\n")
        return cluster.answer("north", tmp_path / "node.txt", pickle.dumps((run_alone, ("script.py", tmp_path / "place", []))))

    monkeypatch.setattr("recipe.scripts.REPO", tmp_path)
    assert call("pass") is None
    assert "script.py failed: begun" in str(call("raise SystemExit(1)"))
    with pytest.raises(ScriptKilled, match="killed by signal 9; before it said: begun"):
        call("os.kill(os.getpid(), 9)")
