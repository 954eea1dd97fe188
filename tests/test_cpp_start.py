"""Compiled networks are kept for the next start, and never answer for another network."""

import os
import shutil

import numpy as np
import pytest
from test_cpp_models import classify, picture, write_manifest, write_network  # noqa: F401

from tests.cpp_build import missing_tools
from tests.other_user import as_another_user, let_enter

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"the C++ parts need: apt-get install {missing_tools()}")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "classify"


@pytest.fixture
def ask(picture, cache):  # noqa: F811
    """(folder of a network) -> what is answered, a row of CSV."""

    def ask(folder):
        done = classify(folder, picture, XDG_CACHE_HOME=str(cache.parent))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return ask


def write(folder, weight=1.0):
    write_network(folder, weight=weight)
    write_manifest(folder)
    return folder


@pytest.fixture
def two(tmp_path):
    """Networks that answer otherwise."""
    return write(tmp_path / "one"), write(tmp_path / "other", weight=-1.0)


def exchange(cache, ask, two):
    """Let the files of both networks in the cache change places; returns what they answered before."""
    before, names = [], []
    for folder in two:
        before.append(ask(folder))
        names.append(next(path for path in cache.iterdir() if path not in names))
    assert before[0] != before[1]
    names[0].rename(cache / "third")
    names[1].rename(names[0])
    (cache / "third").rename(names[1])
    return before


def test_a_second_start_takes_what_was_compiled(two, cache, ask):
    """Which shows when it is another network's."""
    before = exchange(cache, ask, two)
    assert [ask(folder) for folder in two] == before[::-1]


def test_what_lies_compiled_beside_a_network_is_taken_without_a_cache(two, cache, ask):
    before = exchange(cache, ask, two)
    shutil.move(cache, two[0] / "compiled")
    assert ask(two[0]) == before[1]
    assert not cache.exists()


def another_mean(content):
    """In the notes, which the network's own hash does not cover."""
    assert b'"mean_values":"127.5' in content
    return content.replace(b'"mean_values":"127.5', b'"mean_values":"927.5')


DAMAGES = (lambda c: b"", lambda c: b"{}\n" + c, lambda c: c[:-1], lambda c: c[:-9] + b"x" + c[-8:], another_mean)


def test_without_a_cache_nothing_is_taken_from_where_the_program_was_started(two, cache, ask, monkeypatch, picture):  # noqa: F811
    before = exchange(cache, ask, two)
    monkeypatch.chdir(cache)
    monkeypatch.delenv("HOME", raising=False)
    assert classify(two[0], picture, XDG_CACHE_HOME="").stdout == before[0]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_compiled_again(two, cache, ask, damage):
    before = ask(two[0])
    (file,) = cache.iterdir()
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert ask(two[0]) == before
    assert len(file.read_bytes()) == len(content)


def test_a_network_that_nobody_vouches_for_is_not_kept(two, cache, ask):
    (two[0] / "manifest.json").unlink()
    ask(two[0])
    assert not cache.exists()


def test_a_damaged_network_is_refused_though_it_lies_compiled(two, ask, picture):  # noqa: F811
    ask(two[0])
    weights = np.frombuffer((two[0] / "model.bin").read_bytes(), np.uint8).copy()
    weights[0] ^= 1
    (two[0] / "model.bin").write_bytes(weights.tobytes())
    done = classify(two[0], picture)
    assert done.returncode == 1
    assert "model.bin: is not what was exported" in done.stderr


def test_nothing_is_written_where_it_may_not_be(two, tmp_path, ask, cache, picture):  # noqa: F811
    before = ask(two[0])
    shutil.rmtree(cache)
    let_enter(tmp_path, picture.parent)
    cache.parent.chmod(0o755)
    assert as_another_user(lambda: ask(two[0])) == before
    assert list(cache.parent.iterdir()) == []


def test_a_cache_keeps_eight(tmp_path, cache, ask):
    for i in range(10):
        ask(write(tmp_path / str(i), weight=1 + i))
    assert len(list(cache.iterdir())) == 8
    assert not any(path.name.startswith(".") for path in cache.iterdir())


def test_a_folder_keeps_what_others_put_there(tmp_path, cache, ask):
    cache.mkdir(parents=True)
    for i in range(10):
        (cache / f"work{i}.compiled").write_text("mine")
    old, new = cache / ".classify.1.0.tmp", cache / ".classify.2.0.tmp"  # of programs that were killed, and that write now
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (0, 0))
    ask(write(tmp_path / "network"))
    assert len(list(cache.glob("work*.compiled"))) == 10
    assert (old.exists(), new.exists()) == (False, True)


def test_the_cache_is_the_users_or_none(two, picture, tmp_path, monkeypatch):  # noqa: F811
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert classify(two[0], picture, XDG_CACHE_HOME="relative").returncode == 0  # which the rules of XDG say to ignore
    assert os.listdir(tmp_path / "HOME" / ".cache" / "classify")
    shutil.rmtree(tmp_path / "HOME")
    assert classify(two[0], picture, XDG_CACHE_HOME="", HOME="").returncode == 0
    assert not any((tmp_path / name).exists() for name in ("XDG_CACHE_HOME", "HOME"))
