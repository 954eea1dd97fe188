"""A folder that appears whole or not at all."""

import contextlib
import shutil
from pathlib import Path

from common.errors import UserError


@contextlib.contextmanager
def staged_folder(final):
    """Yield an empty folder beside `final`; when the block ends well it takes the place of `final`, else it is removed."""
    final = Path(final)
    staging, old = final.with_name(f".{final.name}.tmp"), final.with_name(f".{final.name}.old")
    if final.exists() and not final.is_dir():
        raise UserError(f"{final}: is a file, but a folder goes there. Move it away, then run the same command again.")
    _restore(old, final)  # of a run that was killed between the two renames
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        if final.exists():
            final.rename(old)
        staging.rename(final)
    finally:
        _restore(old, final)
        shutil.rmtree(staging, ignore_errors=True)


def _restore(old, final):
    """Put the older folder back if nothing took its place, else remove it."""
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)
