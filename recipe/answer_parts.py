"""Answers for a list of any length by the nodes of a Ray cluster: a folder of Parquet files, one for each part of the list.

    part-00000.parquet ...    path, class, confidence, p_<class>..., error: `pandas.read_parquet(FOLDER)` reads all of them as one
    _list/                    the parts of the list
    _made_with.json           what the answers depend on

A part appears when it is whole, so the same command goes on with those that are missing.
"""

import hashlib
import itertools
import json
import os
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from common.errors import UserError, os_user_error
from common.files import atomic_path, make_folder, read_json, staged_folder, write_json
from recipe.answers import BEGIN_ANEW, answer, claim
from recipe.predictor import open_predictor
from utils.runlog import start_printing

PART = 2_000  # pictures


class AnswerParts:
    """In a `with` block, the folder of answers to `pictures`, an iterator over (path as it is told, file).

    made_with: what the answers depend on besides, of JSON types. UserError where the folder was begun with something else, or
    another command is at it.
    """

    def __init__(self, folder, pictures, made_with):
        self.folder, self.pictures, self.made_with = Path(folder), pictures, made_with

    def __enter__(self):
        make_folder(self.folder)
        with ExitStack() as opened:
            claim(opened.enter_context(open(self.folder / "_lock", "ab")), self.folder)
            self._cut_list()
            self._lock = opened.pop_all()
        return self

    def __exit__(self, *error):
        self._lock.close()

    def _cut_list(self):
        note, listed = self.folder / "_made_with.json", self.folder / "_list"
        if not note.is_file() and any(not path.name.startswith((".", "_")) for path in self.folder.iterdir()):
            raise UserError(f"{self.folder}: a folder that holds other things. Choose another name for --output.")
        with staged_folder(listed) as stage:  # the list is cut anew each time: it may have changed
            digest, self.numbers = _cut(self.pictures, stage)
            made_with = json.loads(json.dumps(self.made_with)) | {"list": digest}
            before = read_json(note) if note.is_file() else made_with
            if changed := [key for key, value in made_with.items() if before.get(key) != value]:
                raise UserError(f"{self.folder}: was begun by another command (it differs in: {', '.join(changed)}). {BEGIN_ANEW}")
            write_json(note, made_with)

    def missing(self):
        """The numbers of parts that are not answered yet."""
        return [number for number in self.numbers if not _part(self.folder, number).is_file()]

    def tally(self, number):
        """(answers, how many of them are errors, the first of these or None) of a part that is there."""
        table = pq.read_table(_part(self.folder, number), columns=["path", "error"]).to_pylist()
        failed = [f"{row['path']}: {row['error']}" for row in table if row["error"]]
        return len(table), len(failed), failed[0] if failed else None


class Answerer:
    """Answers a part of the list after another, on a node, with one network that stays in memory."""

    def __init__(self, folder, model, flip, reject_below, max_pixels, threads):
        start_printing(None)
        torch.set_num_threads(threads)
        self.folder, self.max_pixels = Path(folder), max_pixels
        self.predictor = open_predictor(model, flip=flip, reject_below=reject_below, threads=threads)

    def __call__(self, number):
        file = _part(self.folder, number)
        if file.is_file():  # by a process that died before it could say so
            return
        pictures = pq.read_table(_listed(self.folder / "_list", number)).to_pylist()
        rows = [
            answer(self.predictor, picture["shown"], Path(os.fsdecode(picture["file"])), None, self.max_pixels)
            for picture in pictures
        ]
        columns = {name: [row[name] for row in rows] for name in ("path", "class", "confidence")}
        for name in self.predictor.classes:
            columns[f"p_{name}"] = [row["probabilities"] and row["probabilities"][name] for row in rows]
        columns["error"] = [row["error"] for row in rows]
        types = {name: pa.string() if name in ("path", "class", "error") else pa.float64() for name in columns}
        _write(file, pa.table({name: pa.array(cells, types[name]) for name, cells in columns.items()}))


def _cut(pictures, folder):
    """Write the list in parts; (its digest, the parts' numbers)."""
    digest, pictures = hashlib.sha256(), iter(pictures)
    for number in itertools.count():
        part = [(shown, os.fsencode(file)) for shown, file in itertools.islice(pictures, PART)]  # any bytes but 0
        if not part:
            return digest.hexdigest(), range(number)
        digest.update(b"".join(shown.encode() + b"\0" + file + b"\0" for shown, file in part))
        shown, files = zip(*part, strict=True)
        _write(_listed(folder, number), pa.table({"shown": shown, "file": files}))


def _write(file, table):
    try:
        with atomic_path(file) as temporary:
            pq.write_table(table, temporary)
    except OSError as error:
        raise os_user_error(error, file) from error


def _part(folder, number):
    return folder / f"part-{number:05}.parquet"


def _listed(folder, number):
    return folder / f"{number:05}.parquet"
