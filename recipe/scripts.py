"""The project's scripts as processes of their own: one at a time in a place, with all that they say in a file there."""

import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import UserError

REPO = Path(__file__).resolve().parent.parent


class ScriptFailed(UserError):
    """A script ended with an error: `reason` is what it said last, without the name of its place; the file `said` has all of it.

    said: None where it is known to fail, so that it was not even started.
    """

    def __init__(self, place, script, reason, said="output.txt"):
        super().__init__(f"{place.name}: {script} failed: {reason}" + (f" (all of it: {place / said})" if said else ""))
        self.reason = reason.replace(place.name, "")
        self._made_of = place, script, reason, said

    def __reduce__(self):  # pickle would make it of its message
        return type(self), self._made_of


class ScriptKilled(ScriptFailed):
    """A script ended by a signal, as where memory ran out or its machine is shut down; another try goes on from what it kept."""


@contextmanager
def alone(path):
    """Yield the descriptor of the lock file `path`, as soon as no other process holds it, nor one that inherited it."""
    try:
        import fcntl
    except ImportError as error:
        raise UserError("studies need file locks as of Linux and macOS. On Windows, start them in WSL.") from error
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def run_script(script, place, arguments, lock, watch=None, said="output.txt"):
    """Run a script to its end; what it says goes to the file `said` in the folder `place`. Raises `ScriptFailed`.

    lock: the descriptor of the folder's lock, which the script holds too: where this process is killed, and the script is not,
    the next one waits for it. watch: called every second; what it raises ends the script.
    """
    command = [sys.executable, str(REPO / script), *map(str, arguments)]
    with open(place / said, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, pass_fds=(lock,))
        try:
            while process.poll() is None:
                if watch:
                    watch()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(1)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        last_words = (place / said).read_text("utf-8", "replace").strip().splitlines()[-3:]
        if process.returncode < 0:
            raise ScriptKilled(
                place, script, " ".join([f"killed by signal {-process.returncode}; before it said:", *last_words]), said
            )
        raise ScriptFailed(place, script, " ".join(last_words), said)


def run_alone(script, place, arguments):
    """`run_script` in a folder of its own, as soon as no other process is at it there."""
    place.mkdir(parents=True, exist_ok=True)
    with alone(place / "lock") as lock:
        run_script(script, place, arguments, lock)
