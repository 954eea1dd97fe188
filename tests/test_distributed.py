"""Several processes: who joins, what they tell each other, and one message where they cannot work together."""

import datetime
import json
import os
import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from helpers import REPO

from common.errors import UserError
from utils import distributed
from utils.memory import usable_cpus

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

distributed.start(torch.device("cpu"))
distributed.CHUNK = 64  # bytes, so that rows are sent in several parts
rank, rows = distributed.rank(), np.arange(7 * 30, dtype=np.float32).reshape(7, 5, 6)
print(json.dumps({
    "shared": refusal(distributed.check_shared_folder, "shared"),
    "apart": refusal(distributed.check_shared_folder, f"own{rank}", 0.3),
    "a file": refusal(distributed.check_shared_folder, "file/below"),
    "main first": refusal(distributed.main_first, fail),
    "on main": refusal(distributed.on_main, fail),
    "said": distributed.said_by_main(f"by {rank}"),
    "cpus": distributed.own_cpus(),
    "rows": [bool((distributed.gather_rows(part[rank::2]) == part).all()) for part in (rows, rows[:1], rows[:0])],
}))
distributed.finish()
"""


def environment(rank, port):
    names = {"RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    names |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), 2)
    return {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in names.items()}}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each of two processes answers; each sees `shared` and a folder that the other does not."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "file").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER], cwd=folder, env=environment(rank, port), stdout=subprocess.PIPE)
        for rank in (0, 1)
    ]
    answers = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert not list((folder / "shared").iterdir())  # nothing of the check is left behind
    return answers


def test_processes_that_share_a_folder_go_on(answers):
    assert [answer["shared"] for answer in answers] == [None, None]


def test_processes_whose_folders_differ_end_with_one_message(answers):
    assert "1 of 2 processes" in answers[0]["apart"]
    assert "must share one run folder" in answers[0]["apart"]
    assert answers[0]["apart"].partition(":")[2] == answers[1]["apart"].partition(":")[2]


def test_folder_that_the_main_process_cannot_write_ends_all_with_one_message(answers):
    assert "cannot be written" in answers[0]["a file"]
    assert answers[0]["a file"] == answers[1]["a file"]


def test_error_of_the_main_process_is_that_of_all(answers):
    for way in ("main first", "on main"):
        assert [answer[way] for answer in answers] == ["three bad pictures, found by process 0"] * 2


def test_all_processes_hear_what_the_main_one_says(answers):
    assert [answer["said"] for answer in answers] == ["by 0", "by 0"]


def test_processes_of_a_machine_share_its_processors(answers):
    assert [answer["cpus"] for answer in answers] == [max(1, usable_cpus() // 2)] * 2


def test_rows_come_together_in_their_order(answers):
    assert [answer["rows"] for answer in answers] == [[True] * 3] * 2


@pytest.fixture
def joined(monkeypatch):
    """The calls of `init_process_group`, with no announcement in the environment yet."""
    calls = []
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: calls.append((backend, timeout)))
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
    ((backend, timeout),) = joined
    assert backend == "gloo"
    assert timeout > datetime.timedelta(hours=12)


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
