"""What the page's tests need besides Python, and how they call it."""

import os
import shutil
import subprocess

import pytest
from helpers import REPO

PAGE, BROWSER = REPO / "deploy" / "page", REPO / "tests" / "browser"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")  # as in chromium.mjs


def need(*, browser=True):
    """Skip the test where Node.js, its packages or Chromium are not there; fail it where REQUIRE_BROWSER is set, as in .ci/run."""
    missing = [] if shutil.which("node") else ["apt-get install nodejs npm"]
    if browser and not (PAGE / "node_modules" / "playwright-core").is_dir():
        missing.append("npm ci --prefix deploy/page")
    if browser and not os.environ.get("CHROMIUM") and not any(map(shutil.which, CHROMIUM)):
        missing.append("apt-get install chromium")
    if missing:
        (pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip)(f"the page's tests need: {' && '.join(missing)}")


def node(script, *arguments):
    """What tests/browser/`script` prints."""
    done = subprocess.run(["node", BROWSER / script, *map(str, arguments)], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
