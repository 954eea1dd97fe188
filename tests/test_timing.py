"""Engines take turns, and a slow one does not take for ever."""

import time

import numpy as np
import pytest

from deploy import timing
from deploy.timing import Engine, compare, latency


def engine(name, milliseconds, calls=None):
    """One that sleeps for each image, and notes its name."""

    def run(batch):
        time.sleep(len(batch) * milliseconds / 1e3)
        if calls is not None:
            calls.append(name)

    return Engine(name, run, run, np.zeros((4, 1), np.float32))


def test_the_rows_say_how_fast_each_engine_is():
    (quick, *quick_numbers), (slow, *slow_numbers) = compare([engine("quick", 1), engine("slow", 4)], repeats=20)
    assert (quick, slow) == ("quick", "slow")
    for (median, p99, one_by_one, many), least in ((quick_numbers, 1), (slow_numbers, 4)):
        assert least <= median <= p99
        assert one_by_one == pytest.approx(1e3 / median)
        assert many <= 1e3 / least
    assert slow_numbers[0] > quick_numbers[0]


def test_engines_take_turns():
    calls = []
    latency([engine("a", 0, calls), engine("b", 0, calls)], repeats=4, turn=2)
    assert "".join(calls) == 3 * (5 * "a" + 5 * "b")  # a turn to warm up, and three images before each turn


def test_a_slow_network_is_measured_on_fewer_images(monkeypatch):
    """A large one took minutes: 120 images and 6 batches on each of four engines, whatever they took."""
    monkeypatch.setattr(timing, "SECONDS", 0.1)
    calls = []
    ((_, median, *_),) = compare([engine("slow", 20, calls)])
    assert median >= 20
    assert len(calls) < 20
