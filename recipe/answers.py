"""The answers for many pictures, a row each, written as they come: to the terminal, or to a file that an interruption keeps.

Rows are dicts with path, class, confidence, probabilities ({class: number}) and error, None where there is none.
"""

import csv
import json
import os
import sys
from pathlib import Path

from common.errors import UserError, os_user_error
from common.files import read_json, write_json
from data.decode import UnreadableImage
from utils.runlog import log

BEGIN_ANEW = "Give another --output, or delete that file to begin anew."


def answer(predictor, shown, path, explainer, max_pixels):
    """The row for the file at `path`, which is called `shown` there; explainer: an `Explainer` that draws it, or None."""
    try:
        probs = predictor(predictor.read(path, max_pixels))
    except (UnreadableImage, UserError) as error:
        return {"path": shown, "class": None, "confidence": None, "probabilities": None, "error": str(error)}
    best = int(probs.argmax())
    if explainer:
        explainer.write(path, max_pixels, best)
    named = dict(zip(predictor.classes, map(float, probs), strict=True))
    return {"path": shown, "class": predictor.class_of(probs), "confidence": named[predictor.classes[best]],
            "probabilities": named, "error": None}  # fmt: skip


class ReaderGone(Exception):
    """Whoever reads the terminal's other end has seen enough."""


class Answers:
    """Counts what was answered; in a `with` block, `add` writes a row."""

    def __init__(self):
        self.count, self.failed, self.first_failure = 0, 0, None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        pass

    def remaining(self, pictures):
        """Of `pictures`, (path as it is told, file) each, an iterator over those that are not answered yet."""
        return iter(pictures)

    def add(self, row):
        self._write(row)
        self._tally(row["path"], row["error"])

    def _tally(self, path, error):
        self.count += 1
        self.failed += bool(error)
        if error and self.failed == 1:
            self.first_failure = f"{path}: {error}"


class Terminal(Answers):
    """CSV on standard output, in UTF-8 whatever its own encoding, since names are any text. Raises ReaderGone."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")

    def __enter__(self):
        self._print(csv_head(self.classes))
        return self

    def _write(self, row):
        self._print(csv_row(row, self.classes, "{:.4f}".format))

    def _print(self, text):
        try:
            print(text, end="", flush=True)
        except BrokenPipeError as error:  # `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python writes as it ends
            raise ReaderGone from error
        except OSError as error:
            raise os_user_error(error, "standard output") from error


class AnswerFile(Answers):
    """A .csv or .json file, which appears when it is whole; until then its rows are in <name>.part.<suffix> beside it.

    made_with: what the answers depend on, of JSON types. It is noted beside the part, so that the same command goes on there.
    Raises UserError where a part was begun with something else, for other pictures, or is being written by another process.
    """

    def __init__(self, path, classes, made_with):
        super().__init__()
        self.path, self.classes, self.made_with = Path(path), classes, json.loads(json.dumps(made_with))
        self.part = self.path.with_name(f"{self.path.stem}.part{self.path.suffix}")
        self.note = self.part.with_name(f"{self.part.name}.json")
        self.is_json = self.path.suffix.lower() == ".json"

    def __enter__(self):
        try:
            self._file = open(self.part, "ab", buffering=0)
        except OSError as error:
            raise os_user_error(error, self.part) from error
        try:
            claim(self._file, self.part)
            self._is_new = not self._file.tell()
            if self._is_new:
                write_json(self.note, self.made_with)
            else:
                self._check_note()
        except Exception:
            self._file.close()
            raise
        return self

    def __exit__(self, kind, error, traceback):
        with self._file:
            if kind is None:
                self._finish()
        if kind is None:
            os.replace(self.part, self.path)
            self.note.unlink(missing_ok=True)
        elif self._is_new and not self.count and isinstance(error, UserError):
            self.part.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)
        elif self.count and not isinstance(error, UserError):
            log.info(f"{self.count} answers are kept in {self.part}; the same command goes on.")

    def remaining(self, pictures):
        pictures, whole = iter(pictures), 0
        for path, error, end in self._whole_rows():
            now, _ = next(pictures, (None, None))
            if now != path:
                raise UserError(
                    f"{self.part}: was begun for other pictures: number {self.count + 1} was {path!r}, and is {now!r} now. "
                    f"{BEGIN_ANEW}"
                )
            self._tally(path, error)
            whole = end
        self._file.truncate(whole)
        if self.count:
            log.info(f"{self.count} answers are in {self.part} already")
        else:
            self._append("[\n" if self.is_json else csv_head(self.classes))
        return pictures

    def _check_note(self):
        before = read_json(self.note) if self.note.is_file() else {}
        changed = [key for key, value in self.made_with.items() if before.get(key) != value]
        if changed:
            raise UserError(
                f"{self.part}: was begun by another command, and interrupted (it differs in: {', '.join(changed)}). {BEGIN_ANEW}"
            )

    def _whole_rows(self):
        """(path, error, where it ends) of each row that is there, up to one that was cut."""
        with open(self.part, "rb") as file:
            lines = _Lines(file)
            try:
                for row in (_json_rows if self.is_json else _csv_rows)(lines):
                    yield row["path"], row["error"], lines.end
            except (ValueError, KeyError, TypeError, csv.Error):  # within a row
                return

    def _write(self, row):
        self._append(json.dumps(row, ensure_ascii=False) + ",\n" if self.is_json else csv_row(row, self.classes, repr))

    def _append(self, text):
        content = memoryview(text.encode())
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            raise os_user_error(error, self.part) from error

    def _finish(self):
        if self.is_json and self.count:
            self._file.truncate(self._file.seek(0, os.SEEK_END) - len(",\n"))
            self._append("\n]\n")
        os.fsync(self._file.fileno())


class _Lines:
    """The lines of a binary file as text, and where the last one ended."""

    def __init__(self, file):
        self.file, self.end, self.is_whole = file, 0, True

    def __iter__(self):
        return self

    def __next__(self):
        line = next(self.file)
        self.end += len(line)
        self.is_whole = line.endswith(b"\n")
        return line.decode()


def _json_rows(lines):
    for line in lines:
        if line != "[\n":
            if not line.endswith(",\n"):
                return
            yield json.loads(line[:-2])


def _csv_rows(lines):
    for row in csv.DictReader(lines, strict=True):
        if not lines.is_whole or row["error"] is None:
            return
        yield row


def claim(file, path):
    """UserError where another process has the open `file`; the claim ends with the process."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{path}: another process is writing it. Wait for it, or give another --output.") from error
    except OSError:  # a network disk without locks
        pass


def csv_head(classes):
    """The first line: path, class, confidence, p_<class>..., error."""
    return _csv_line(["path", "class", "confidence", *(f"p_{name}" for name in classes), "error"])


def csv_row(row, classes, as_text):
    """A row as a line; as_text: float -> text."""
    probs = row["probabilities"] or {}
    numbers = [row["confidence"], *(probs.get(name) for name in classes)]
    return _csv_line([row["path"], row["class"], *(None if x is None else as_text(x) for x in numbers), row["error"]])


def _csv_line(cells):
    return ",".join(map(_csv_cell, cells)) + "\n"


def _csv_cell(text):
    """In quotes where it needs them; a lone carriage return, which Python's own writer leaves bare, ends a row for many readers."""
    if text is None:
        return ""
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text
