"""What tests with a browser need: Node, Chromium and the packages of deploy/page. Where CI must run them, their absence fails."""

import os
import shutil

import pytest
from helpers import REPO

REPORT_TOOL = REPO / "tests" / "browser" / "report.mjs"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def browser_or_skip():
    """Skip the test where there is no browser to drive; fail it instead where BROWSER_TESTS=1 says that there must be one."""
    missing = [name for name, there in {
        "node": shutil.which("node"),
        "chromium": os.environ.get("CHROMIUM") or any(map(shutil.which, PROGRAMS)),
        "npm ci in deploy/page": (REPO / "deploy" / "page" / "node_modules").is_dir(),
    }.items() if not there]  # fmt: skip
    if missing:
        (pytest.fail if os.environ.get("BROWSER_TESTS") == "1" else pytest.skip)(f"needs {', '.join(missing)}")
