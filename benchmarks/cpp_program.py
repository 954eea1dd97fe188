"""The C++ program `classify`, as the benchmarks ask it."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

from common.errors import UserError

CLASSIFY = Path(__file__).resolve().parent.parent / "build" / "cpp" / "classify"


def add_classify(parser):
    """The option --classify."""
    parser.add_argument("--classify", type=Path, default=CLASSIFY, help="the C++ program that make cpp built")


def check_built(program):
    """UserError unless it is there."""
    if not program.is_file():
        raise UserError(f"{program}: not there. Run: make cpp, or name the program with --classify.")


@contextmanager
def asking(program, xml_path, files):
    """The command, a list of words, that classifies `files` and answers in JSON; a command line has no room for thousands."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "pictures.txt")
        listed.write_text("".join(f"{path.resolve()}\n" for path in files), encoding="utf-8")
        yield [str(program), "--model", str(xml_path), "--list", str(listed), "--output", "json"]
