"""What another user than root is told: root may read and write everything, so tests of rights give root's up."""

import os
import tempfile
import traceback
from pathlib import Path

from common.errors import UserError


def as_another_user(function):
    """The text that `function()` returns in a process without root's rights."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            os.write(writer, function().encode())
        except BaseException:  # whatever it is, this copy of the test run must end here
            os.write(writer, f"not a message: {traceback.format_exc()}".encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, encoding="utf-8") as file:
        return file.read()


def let_enter(*places):
    """Every user may enter these folders; pytest's own are its user's alone. The system's temporary folder stays as it is."""
    for place in places:
        for folder in (place, *place.parents):
            if folder == Path(tempfile.gettempdir()):
                break
            folder.chmod(0o755)


def ask(function):
    """The message of the UserError that `function` raises."""
    try:
        function()
    except UserError as error:
        return str(error)
    return "no error"
