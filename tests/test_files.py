"""Files and folders appear whole or not at all, nobody's work is destroyed, and what goes wrong on a disk is one message."""

import errno
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import REPO
from other_user import as_another_user, ask
from processes import in_parallel, killed_at

import common.temporary
from common.arrays import open_array, write_array
from common.errors import UserError
from common.files import (
    atomic_path,
    check_digest,
    check_files,
    exclusive,
    make_folder,
    read_csv,
    read_json,
    sha256,
    staged_folder,
    write_csv,
    write_json,
    write_text,
)
from common.temporary import remove_leftovers, temporary_beside
from data.textiles import write_textiles
from utils.checkpoints import save_checkpoint

ODD_TEXTS = [
    "plain",
    "a,b",
    'quo"te',
    "line\nbreak",
    "lone\rreturn",
    "\r",
    "both\r\n",
    " blanks ",
    "NA",
    "",
    "007",
    "牛仔",
    "\u2028\x85\x0b",
]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of half a MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place]).returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def message(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


# Full disks


def write_big_file(place):
    with atomic_path(place / "big.bin") as temporary:
        temporary.write_bytes(bytes(2**20))


def write_checkpoint(place):
    save_checkpoint(place / "big.pth", {"weight": torch.zeros(2**18)}, {})


def write_big_ir(place):
    import openvino as ov

    weight = ov.opset13.constant(np.ones((512, 512), np.float32))
    network = ov.Model([ov.opset13.matmul(x := ov.opset13.parameter([1, 512]), weight, False, False)], [x])
    with staged_folder(place / "deploy") as folder:
        ov.save_model(network, folder / "model.xml", compress_to_fp16=False)


def write_drawing(place):
    from matplotlib.figure import Figure

    with atomic_path(place / "big.png") as temporary:
        figure = Figure(figsize=(9, 9))
        figure.figimage(np.random.default_rng(0).random((900, 900)))
        figure.savefig(temporary, format="png")


def write_cache(place):
    write_array(place / "big.npy", np.uint8, (2**20,), lambda array: array.fill(1) or "mark")


def write_pictures(place):
    write_textiles(place / "textiles", num_train=140, num_val=70, size=24)


@pytest.mark.parametrize("write", [write_big_file, write_checkpoint, write_big_ir, write_drawing, write_cache, write_pictures])
def test_full_disk_is_one_message_whatever_the_library_makes_of_it(small_disk, write):
    (small_disk / "mine").write_text("before")
    said = message(write, small_disk)
    assert "no space left on the disk" in said or "MiB are free" in said
    assert [path.name for path in small_disk.iterdir() if path.suffix != ".lock"] == ["mine"], "nothing half written stays"


def test_a_memory_map_takes_its_room_before_it_is_written(small_disk, monkeypatch):
    # Another program fills the disk between the look at it and the writing: without the room this would be SIGBUS.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**40, 0, 2**40))
    assert "no space left on the disk" in message(write_cache, small_disk)


def test_what_a_killed_writer_took_of_the_disk_is_given_back_first(small_disk, dead_process):
    (small_disk / name_of(dead_process)).write_bytes(bytes(400 * 2**10))
    write_array(small_disk / "a.npy", np.uint8, (300 * 2**10,), lambda array: array.fill(1) or "mark")
    assert [path.name for path in small_disk.glob(".tmp*")] == []


def test_a_limit_of_the_user_is_told_too(tmp_path):
    """Also where no small disk can be mounted: `torch.save` ends in a RuntimeError that says nothing of it."""
    process = multiprocessing.get_context("fork").Process(target=_save_with_limit, args=(tmp_path,))
    process.start()
    process.join(60)
    assert "ulimit -f" in (tmp_path / "said").read_text()


def _save_with_limit(place):
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, 2**18))
    said = message(write_checkpoint, place)
    (place / "said").write_text(said)


def test_errors_of_the_block_itself_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), atomic_path(tmp_path / "file"):
        raise RuntimeError("a bug")
    with pytest.raises(UserError, match="already clear"), staged_folder(tmp_path / "folder"):
        raise UserError("already clear")
    assert not list(tmp_path.glob("[!.]*"))


def test_a_clean_up_that_fails_does_not_hide_the_first_error(tmp_path, monkeypatch):
    def refuse(path, missing_ok=False):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(type(tmp_path), "unlink", refuse)
    with pytest.raises(RuntimeError, match="the first"), atomic_path(tmp_path / "file") as temporary:
        raise RuntimeError(f"the first, {temporary.write_text('x')} byte")


# Paths that cannot be written or read


def test_every_reason_why_a_path_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a-disk-that-is-not-there")
    for path, reason in {
        tmp_path / "file" / "below.txt": f"{tmp_path / 'file'} is a file, but a folder is needed there",
        tmp_path / "folder": "a folder of this name is in the way",
        tmp_path / ("n" * 300 + ".txt"): "the name is too long",
        tmp_path / "link" / "run" / "x.txt": f"{tmp_path / 'link'} is a link that leads nowhere",
    }.items():
        said = message(write_text, path, "x")
        assert said.startswith(f"{path}: cannot be written: ")
        assert reason in said
    assert "is a file, but a folder is needed" in message(make_folder, tmp_path / "file" / "a" / "b")
    assert "is a file, but a folder goes there" in message(staged_folder(tmp_path / "file").__enter__)
    assert (tmp_path / "file").read_text() == "mine"


def test_places_that_this_user_may_not_write_to_or_read_are_told():
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        write_json(Path(place, "secret.json"), {})
        Path(place, "secret.json").chmod(0)
        for function in (
            lambda: write_text(Path(place, "answers.csv"), "x"),
            lambda: write_text(Path(place, "new", "answers.csv"), "x"),
            lambda: make_folder(Path(place, "runs", "demo")),
            lambda: staged_folder(Path(place, "deploy")).__enter__(),
            lambda: write_checkpoint(Path(place)),
        ):
            said = as_another_user(lambda function=function: ask(function))
            assert "cannot be written: permission denied. Allow it to this user" in said
        for function in (read_json, read_csv, sha256):
            said = as_another_user(lambda function=function: ask(lambda: function(Path(place, "secret.json"))))
            assert "cannot be read: permission denied" in said


def test_a_name_as_long_as_the_disk_takes_can_be_written(tmp_path):
    write_text(tmp_path / ("n" * 251 + ".txt"), "x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_a_file_that_the_block_reads_is_named_by_its_own_name(tmp_path):
    with pytest.raises(UserError, match=r"gone.jpg: cannot be used: no such file"), atomic_path(tmp_path / "new" / "out.bin"):
        (tmp_path / "gone.jpg").read_bytes()


@pytest.mark.parametrize("content", ["{", "[]", "1", "\ud800", b"\xff\xfe{}", "[" * 100_000])
def test_json_that_is_none_is_one_message(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    assert "not valid JSON" in message(read_json, path)
    assert "cannot be read" in message(read_json, tmp_path)


def test_text_that_cannot_be_encoded_is_one_message(tmp_path):
    assert r"'jeans\udce9.jpg' is not Unicode text" in message(write_text, tmp_path / "a.txt", "jeans\udce9.jpg")


# Tables


def test_tables_come_back_as_they_were(tmp_path):
    table = pd.DataFrame({"path": ODD_TEXTS, "p_a,b": np.random.default_rng(0).random(len(ODD_TEXTS))})
    write_csv(tmp_path / "t.csv", table)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv", texts=["path"]), table, check_exact=True)


def test_numbers_may_be_whole_at_first(tmp_path):
    table = pd.DataFrame({"path": ["x" * 100] * 30_000, "p_a": [0.0] * 29_999 + [0.5]})
    (tmp_path / "t.csv").write_text(table.to_csv(index=False).replace(",0.0\n", ",0\n"))
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv", texts=["path"]), table)


@pytest.mark.parametrize("content", ["", "a,b\n1\n", "a\n\xe9\n", "a,a\n1,2\n"])
def test_a_table_that_is_none_is_one_message(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content.encode("latin-1"))
    assert "t.csv: cannot be read as CSV" in message(lambda path: read_csv(path, texts=["a"]), tmp_path / "t.csv")


@pytest.mark.parametrize("odd", [text for text in ODD_TEXTS if text])
def test_a_column_may_be_called_anything(tmp_path, odd):
    table = pd.DataFrame({"path": ["x"], odd: [0.5]})
    write_csv(tmp_path / "t.csv", table)
    assert list(read_csv(tmp_path / "t.csv").columns) == ["path", odd]


# Writers that were killed, and several at once


@pytest.fixture
def dead_process():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def name_of(writer, machine=None):
    return f".tmp-{machine or common.temporary._machine()}-{writer}-0123abcd.pth"


def test_leftovers_of_dead_writers_are_removed_and_nothing_else(tmp_path, dead_process):
    deep = tmp_path / "student" / "deep"
    deep.mkdir(parents=True)
    dead_file, dead_folder = deep / name_of(dead_process), tmp_path / name_of(dead_process)[:-4]
    living, elsewhere, old_elsewhere = (
        deep / name_of(os.getpid()),
        deep / name_of(7, "host.00ff00ff"),
        deep / name_of(8, "host.00ff00ff"),
    )
    (deep / "best.pth").write_text("kept")
    (deep / ".tmp-mine").write_text("kept")
    dead_folder.mkdir()
    for path in (dead_file, dead_folder / "model.bin", living, elsewhere, old_elsewhere):
        path.write_text("half")
    os.utime(old_elsewhere, (time.time() - 2 * common.temporary.DAY,) * 2)
    assert remove_leftovers(tmp_path) == 3
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"best.pth", ".tmp-mine", living.name, elsewhere.name}
    assert not dead_folder.exists()


def test_killed_writer_leaves_something_that_the_next_one_removes(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from common.files import atomic_path, staged_folder
with staged_folder("{tmp_path}/deploy") as folder, atomic_path("{tmp_path}/student/best.pth") as file:
    file.write_text("half"), (folder / "model.bin").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], cwd=REPO)
    assert len(list(tmp_path.rglob(".tmp-*"))) == 2
    with staged_folder(tmp_path / "deploy") as folder:
        (folder / "model.bin").write_text("whole")
    assert [path.parent.name for path in tmp_path.rglob(".tmp-*")] == ["student"]
    assert remove_leftovers(tmp_path) == 1
    assert (tmp_path / "deploy" / "model.bin").read_text() == "whole"


def test_equal_process_numbers_in_two_containers_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    names = {temporary_beside(tmp_path / "last.pth") for _ in range(100)}
    assert len(names) == 100
    common.temporary._machine.cache_clear()
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[4026999999]")  # a container of the same host, with the host's name
    elsewhere = temporary_beside(tmp_path / "last.pth")
    common.temporary._machine.cache_clear()
    assert elsewhere.name.split("-")[1] != next(iter(names)).name.split("-")[1]


def test_many_writers_of_one_file_and_one_folder_all_survive(tmp_path):
    def write(number):
        for _ in range(5):
            write_json(tmp_path / "results.json", {"text": str(number) * 10_000})
            with staged_folder(tmp_path / "deploy") as folder:
                (folder / "number").write_text(str(number))

    assert in_parallel(write, range(6)) == [0] * 6
    assert len(set(json.loads((tmp_path / "results.json").read_text())["text"])) == 1
    assert (tmp_path / "deploy" / "number").read_text() in set("012345")
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "deploy", ".deploy.lock"}


def test_only_one_process_at_a_time_is_in_an_exclusive_block(tmp_path):
    def count(_):
        for _ in range(20):
            with exclusive(tmp_path / "counter"):
                number = int((tmp_path / "counter").read_text())
                time.sleep(0.001)
                (tmp_path / "counter").write_text(str(number + 1))

    (tmp_path / "counter").write_text("0")
    assert in_parallel(count, range(4)) == [0] * 4
    assert (tmp_path / "counter").read_text() == "80"


def test_folder_of_a_run_that_was_killed_between_two_renames_comes_back(tmp_path):
    (tmp_path / ".deploy.old").mkdir()
    (tmp_path / ".deploy.old" / "model.xml").write_text("older, but whole")
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "deploy"):
        raise RuntimeError
    assert (tmp_path / "deploy" / "model.xml").read_text() == "older, but whole"


def replace_all(place):
    with staged_folder(place / "deploy") as folder:
        for name in ("model.xml", "model.bin"):
            (folder / name).write_text("new")
    write_json(place / "results.json", {"is": "new"})


def test_killed_at_any_step_the_older_or_the_newer_is_there_whole_after_the_next_start(tmp_path):
    for step in itertools.count(1):
        place = tmp_path / str(step)
        (place / "deploy").mkdir(parents=True)
        for path in (place / "deploy" / "model.xml", place / "deploy" / "model.bin"):
            path.write_text("old")
        write_json(place / "results.json", {"is": "old"})
        if not killed_at(step, lambda place=place: replace_all(place)):
            break
        remove_leftovers(place)
        with suppress(KeyError), staged_folder(place / "deploy"):
            raise KeyError("a start that comes to nothing")
        models = [(place / "deploy" / name).read_text() for name in ("model.xml", "model.bin")]
        assert models in (["old", "old"], ["new", "new"])
        assert read_json(place / "results.json")["is"] in ("old", "new")
        assert {path.name for path in place.iterdir()} == {"deploy", "results.json", ".deploy.lock"}
    assert step > 10


# Damage


def test_every_flipped_byte_of_an_array_is_noticed(tmp_path, said):
    path = tmp_path / "a.npy"
    write_array(path, np.uint8, (40,), lambda array: array.fill(7) or "seven")
    assert open_array(path, "eight") is None
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert open_array(path, "seven") is None
    for damaged in (whole[:-1], whole[:10], b"", whole + b"\0"):
        path.write_bytes(damaged)
        assert open_array(path, "seven") is None
    assert "damaged" in said.text
    path.write_bytes(whole)
    np.testing.assert_array_equal(open_array(path, "seven"), np.full(40, 7))
    for record in ("", "[]", "{}", '{"mark": "seven"}'):
        path.with_suffix(".json").write_text(record)
        assert open_array(path, "seven") is None


def test_files_of_a_manifest_are_checked(tmp_path):
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_bytes(bytes(1000))
    files = {name: {"bytes": 1000, "sha256": sha256(tmp_path / name)} for name in ("model.xml", "model.bin")}
    check_files(tmp_path, files)
    (tmp_path / "model.bin").write_bytes(bytes(999) + b"\1")
    check_files(tmp_path, files, names=["model.xml"])
    assert "model.bin: damaged" in message(check_files, tmp_path, files)
    assert "Ask Ann." in message(check_digest, tmp_path / "model.bin", files["model.bin"]["sha256"], "Ask Ann.")
    (tmp_path / "model.bin").unlink()
    assert "model.bin: not there" in message(check_files, tmp_path, files)
    assert "does not say" in message(check_files, tmp_path, files, ["labels.txt"])
