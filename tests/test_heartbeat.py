"""Signs of life: who gives none is named, and nobody else."""

import os
import socket
import threading

import pytest
import torch.distributed as dist

from utils import heartbeat
from utils.heartbeat import Heartbeat


@pytest.fixture
def processes(monkeypatch):
    """Three that share a store."""
    ended = threading.Event()
    monkeypatch.setattr(heartbeat, "PERIOD", 0.1)
    monkeypatch.setattr(os, "_exit", lambda status: ended.set())
    store, said = dist.HashStore(), {rank: [] for rank in range(3)}
    beats = [Heartbeat(store, rank, 3, said[rank].append) for rank in range(3)]
    yield beats, said, ended
    for beat in beats:
        beat.stop()


def test_those_that_live_are_left_alone(processes):
    _, said, ended = processes
    assert not ended.wait(20 * heartbeat.PERIOD)
    assert not any(said.values())


def test_one_without_a_sign_of_life_is_named_with_its_machine(processes):
    beats, said, ended = processes
    threading.Event().wait(4 * heartbeat.PERIOD)
    beats[1].stop()
    assert ended.wait(20)
    message = (said[0] + said[2])[0]
    assert message.startswith(f"no sign of life of process 1 (on {socket.gethostname()}) for ")


def test_one_that_hears_nobody_ends(processes, monkeypatch):
    """As when the machine that keeps the signs of life is gone."""
    beats, said, ended = processes

    def fail(number):
        raise dist.DistNetworkError("connection closed")

    monkeypatch.setattr(beats[0], "_give", fail)
    assert ended.wait(20)
    threading.Event().wait(10 * heartbeat.PERIOD)
    assert "process 1" in said[0][0]
    assert ", 2" in said[0][0]
