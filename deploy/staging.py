"""A folder that appears whole or not at all."""

import contextlib
import shutil
from pathlib import Path


@contextlib.contextmanager
def staged_folder(final):
    """Yield an empty folder beside `final`; when the block ends well it takes the place of `final`, else it is removed."""
    final = Path(final)
    staging, old = final.with_name(f".{final.name}.tmp"), final.with_name(f".{final.name}.old")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        staging.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
