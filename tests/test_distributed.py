"""Several processes: who joins, what they tell each other, and one message where they cannot work together."""

import json
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch
from helpers import environment as for_scripts

from common.errors import UserError
from common.memory import usable_cpus
from utils import distributed

CPU = torch.device("cpu")
# Each of two processes: folders `shared`, `own0` and `own1`; the answers as JSON.
WORKER = """
import json, sys
import numpy as np, torch
from common.errors import UserError
from utils import distributed

def refusal(function, *arguments):
    try:
        return function(*arguments)
    except UserError as error:
        return str(error)

def fail():
    raise UserError(f"three bad pictures, found by process {distributed.rank()}")

def fail_elsewhere():
    return "found" if distributed.is_main() else fail()

distributed.start(torch.device("cpu"))
distributed.CHUNK = 64  # bytes, so that rows are sent in several parts
rank, rows = distributed.rank(), np.arange(7 * 30, dtype=np.float32).reshape(7, 5, 6)
print(json.dumps({
    "shared": refusal(distributed.check_shared_folder, "shared"),
    "apart": refusal(distributed.check_shared_folder, f"own{rank}", 0.3),
    "a file": refusal(distributed.check_shared_folder, "file/below"),
    "main first": refusal(distributed.main_first, fail),
    "on main": refusal(distributed.on_main, fail),
    "elsewhere": refusal(distributed.main_first, fail_elsewhere),
    "same": refusal(distributed.check_same, {"lr": 1, "seed": 2}, "the settings", "Mend them."),
    "differing": refusal(distributed.check_same, {"lr": 1, "seed": rank}, "the settings", "Mend them."),
    "said": distributed.said_by_main(f"by {rank}"),
    "cpus": distributed.own_cpus(),
    "rows": [bool((distributed.gather_rows(part[rank::2]) == part).all()) for part in (rows, rows[:1], rows[:0])],
}))
distributed.finish()
"""


# Each of two processes: what happens to process 1, whether process 0 waits for it or decodes, the heartbeat's period in seconds.
LEFT = """
import os, signal, sys, time
import torch
from utils import distributed, heartbeat, session

def main():
    distributed.start(torch.device("cpu"))
    if distributed.rank():
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    if sys.argv[2] == "decodes":
        time.sleep(300)
    distributed.barrier()

heartbeat.PERIOD = float(sys.argv[3])
session.run_script(main)
"""
# Each of two processes under torchrun: one is killed, and started again before the other.
AGAIN = """
import os, signal, sys, time
from pathlib import Path
import torch
from utils import distributed, session

def main():
    first = os.environ["RANK"] == "1" and not Path("killed").exists()
    if Path("killed").exists() and os.environ["RANK"] == "0":
        time.sleep(1)
    distributed.start(torch.device("cpu"))
    if first:
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.barrier()
    print(f"{distributed.said_by_main('together')} in process {distributed.rank()}")

session.run_script(main)
"""


def environment(rank, port):
    names = {"RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    names |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), 2)
    return {**for_scripts(), "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in names.items()}}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_two(code, *arguments, **how):
    port = free_port()
    command = [sys.executable, "-c", code, *arguments]
    return [subprocess.Popen(command, env=environment(rank, port), **how) for rank in (0, 1)]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each of two processes answers; each sees `shared` and a folder that the other does not."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "file").touch()
    workers = start_two(WORKER, cwd=folder, stdout=subprocess.PIPE)
    answers = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert not list((folder / "shared").iterdir())  # nothing of the check is left behind
    return answers


def test_processes_that_share_a_folder_go_on(answers):
    assert [answer["shared"] for answer in answers] == [None, None]


def test_processes_whose_folders_differ_end_with_one_message(answers):
    assert "1 of 2 processes" in answers[0]["apart"]
    assert "must share this folder" in answers[0]["apart"]
    assert answers[0]["apart"].partition(":")[2] == answers[1]["apart"].partition(":")[2]


def test_folder_that_the_main_process_cannot_write_ends_all_with_one_message(answers):
    assert "cannot be written" in answers[0]["a file"]
    assert answers[0]["a file"] == answers[1]["a file"]


def test_error_of_the_main_process_is_that_of_all(answers):
    for way in ("main first", "on main"):
        assert [answer[way] for answer in answers] == ["three bad pictures, found by process 0"] * 2


def test_error_of_another_process_is_that_of_all_and_names_its_machine(answers):
    assert [answer["elsewhere"] for answer in answers] == [f"on {socket.gethostname()}: three bad pictures, found by process 1"] * 2


def test_settings_that_differ_between_machines_end_all_with_one_message(answers):
    host = socket.gethostname()
    assert [answer["same"] for answer in answers] == [None, None]
    assert answers[0]["differing"] == answers[1]["differing"]
    assert answers[0]["differing"].splitlines() == [
        f"the settings of process 1 (on {host}) are not those of process 0 (on {host}):",
        f"    seed: 0 on {host}, 1 on {host}",
        "Mend them.",
    ]


def test_all_processes_hear_what_the_main_one_says(answers):
    assert [answer["said"] for answer in answers] == ["by 0", "by 0"]


def test_processes_of_a_machine_share_its_processors(answers):
    assert [answer["cpus"] for answer in answers] == [max(1, usable_cpus() // 2)] * 2


def test_rows_come_together_in_their_order(answers):
    assert [answer["rows"] for answer in answers] == [[True] * 3] * 2


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (("SIGKILL", "waits", "5"), "lost another process"),
        (("SIGKILL", "decodes", "0.3"), "no sign of life of process 1 (on "),
        (("SIGSTOP", "waits", "0.3"), "no sign of life of process 1 (on "),
    ],
)
def test_those_that_a_lost_process_leaves_end_with_one_message(event, message):
    left, lost = start_two(LEFT, *event, stderr=subprocess.PIPE, text=True)
    try:
        said = left.communicate(timeout=120)[1]
    finally:
        for process in (left, lost):
            process.kill()
            process.communicate()
    assert left.returncode == 1
    (line,) = [line for line in said.splitlines() if "process 0" in line]
    assert message in line
    assert "the same command goes on from the last finished epoch" in line
    assert "Traceback" not in said


def test_a_process_that_waits_for_another_ends_at_once_when_it_is_told_to():
    left, stopped = start_two(LEFT, "SIGSTOP", "waits", "60", stderr=subprocess.PIPE, text=True)
    try:
        while psutil.Process(stopped.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.1)
        time.sleep(0.5)
        left.terminate()
        said = left.communicate(timeout=60)[1]  # signs of life are waited for for nine minutes
    finally:
        for process in (left, stopped):
            process.kill()
            process.communicate()
    assert left.returncode == 128 + signal.SIGTERM
    assert "ended from outside (SIGTERM)" in said


def test_two_nodes_start_again_together_when_a_process_is_killed(tmp_path):
    (tmp_path / "again.py").write_text(AGAIN)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--max-restarts=1"),
        *("--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{free_port()}", "again.py"),
    ]
    nodes = [subprocess.Popen(command, cwd=tmp_path, env=for_scripts(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        said = "".join(node.communicate(timeout=180)[0] for node in nodes)
    finally:
        for node in nodes:
            node.terminate()  # as a killed one would not end its processes
    assert [node.returncode for node in nodes] == [0, 0]
    assert sorted(said.splitlines()) == ["together in process 0", "together in process 1"]


@pytest.fixture
def joined(monkeypatch):
    """The calls of `_join`, with no announcement in the environment yet."""
    calls = []
    monkeypatch.setattr(distributed, "_join", calls.append)
    monkeypatch.setattr(distributed, "_end_by_signal", lambda: None)
    for name in distributed.ANNOUNCED:
        monkeypatch.delenv(name, raising=False)
    return calls


@pytest.mark.parametrize("names", [{}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": ""}, {"RANK": "0", "MASTER_ADDR": "here"}])
def test_without_others_to_join_a_process_trains_alone(joined, monkeypatch, names):
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert distributed.start(CPU) == CPU
    assert not joined


def test_half_an_announcement_names_what_is_missing(joined, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match=r"has WORLD_SIZE=4, but no MASTER_ADDR, MASTER_PORT\. Start all processes with torchrun"):
        distributed.start(CPU)


def announce(monkeypatch, **changes):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", **changes}.items():
        monkeypatch.setenv(name, value)


def test_others_wait_for_hours_while_one_decodes(joined, monkeypatch):
    announce(monkeypatch)
    distributed.start(CPU)
    assert joined == ["gloo"]
    assert distributed.TIMEOUT.total_seconds() > 12 * 3600


def test_announcement_that_makes_no_sense_is_one_message(monkeypatch):
    announce(monkeypatch, RANK="many")
    with pytest.raises(UserError, match=r"cannot join the other processes \(RANK=many WORLD_SIZE=2"):
        distributed.start(CPU)


def test_more_processes_than_gpus_are_refused(joined, monkeypatch):
    announce(monkeypatch, LOCAL_RANK="2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"process 2 of this machine has no GPU: there are 2\. Use torchrun --nproc_per_node=2"):
        distributed.start(torch.device("cuda"))
    assert not joined
