"""One HTML file of all sections: pictures, plots, styles and script inside, nothing fetched from elsewhere."""

import base64
import hashlib
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.errors import UserError
from common.files import write_text
from reports.evidence import Evidence, Missing
from reports.sections import SECTIONS
from reports.words import plain, texts
from utils.runlog import log

TEMPLATES = Path(__file__).parent / "templates"
TITLES = {
    "summary": "In a line", "curves": "Curves", "classes": "Classes", "labels": "Labels to look at", "hardest": "Hardest pictures",
    "sureness": "How sure", "speed": "Speed", "about": "The run",
}  # fmt: skip


def write_report(run, path, language="en", limit=200):
    """Write the report of `run`, a `utils.session.Session`, to `path`; a section that has nothing to show says why.

    language: `en` or `zh`. limit: of labels to look at that are shown.
    """
    evidence, text = Evidence(run), texts(language)
    sections = [_section(name, evidence, text, limit) for name in SECTIONS]
    shows = {section["id"]: section["shows"] for section in sections if section["shows"]}
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    page = _environment().get_template("report.html.jinja").render(
        t=text, language=language, name=run.config.name, folder=str(run.folder.path), date=f"{datetime.now():%Y-%m-%d %H:%M}",
        sections=sections, css=(TEMPLATES / "report.css").read_text(encoding="utf-8"), script=script, script_hash=_hash(script),
        data={"cells": shows.get("classes", {}).get("cells", {}), "earlier": shows.get("labels", {}).get("earlier", [])},
    )  # fmt: skip
    write_text(path, page)
    log.info(f"report: {path} ({path.stat().st_size / 2**20:.1f} MiB)")


def _section(name, evidence, text, limit):
    section = {"id": name, "title": text(TITLES[name]), "shows": None, "reason": None}
    try:
        more = {"limit": limit} if name == "labels" else {}
        section["shows"] = SECTIONS[name](evidence, text, **more)
    except Missing as missing:
        section["reason"] = text(missing.text, **missing.values)
    except UserError as error:  # a file of the run that is gone or damaged costs its section, not the page
        section["reason"] = str(error).splitlines()[0]
    return section


def _environment():
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = plain
    return environment


def _hash(script):
    """What a Content-Security-Policy calls a script that it lets run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
