"""What a run leaves behind for people: log.txt, environment.json, config.py, metrics.csv, TensorBoard events, results.json."""

import logging
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd

from common.errors import UserError
from common.files import read_json, write_csv, write_json, write_text

PACKAGES = ("torch", "torchvision", "efficientnet-pytorch", "timm", "pytorch-optimizer", "albumentations", "mmcv-lite", "mmengine",
            "opencv-python", "numpy", "pandas", "scikit-learn", "onnx", "onnxruntime", "openvino")  # fmt: skip
log = logging.getLogger("run")


def start_logging(folder, main=True):
    """Log lines go to the terminal and, with the time, to folder/log.txt; other processes than the main one stay silent."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    if not main:
        root.addHandler(logging.NullHandler())
        return
    root.setLevel(logging.INFO)
    folder.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(folder / "log.txt", encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    root.addHandler(to_file)
    root.addHandler(logging.StreamHandler(sys.stdout))


def describe_run(folder, config_text):
    """Write config.py and environment.json: everything needed to say later what made the artefacts beside them."""
    write_text(folder / "config.py", config_text)
    write_json(folder / "environment.json", environment())


def environment():
    """Versions, machine and command line, as JSON types."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "code_version": code_version(),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": versions,
    }


def code_version():
    """The git commit of the project, with '-dirty' when files were changed since; 'unknown' outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def check_same_settings(folder, settings):
    """Remember `settings` (flat dict) in folder/settings.json, or refuse to go on a run that was started with others."""
    path = folder / "settings.json"
    if path.is_file():
        before = read_json(path)
        changed = [key for key in sorted(before.keys() | settings.keys()) if before.get(key) != settings.get(key)]
        if changed:
            lines = "\n".join(f"    {key}: {before.get(key)!r} there, {settings.get(key)!r} now" for key in changed)
            raise UserError(
                f"{folder}: holds a run with other settings:\n{lines}\nGive this run another name (--cfg-options name=...), "
                f"use the old settings, or delete {folder} to start again."
            )
        return
    write_json(path, settings)


class MetricsLog:
    """metrics.csv and TensorBoard events of one training, rewritten whole so that a resumed run has no row twice."""

    def __init__(self, folder):
        self.folder = folder
        self._writer = None

    def write(self, history):
        """history: one dict of numbers per finished epoch, the newest last."""
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and not needed to predict or export

        write_csv(self.folder / "metrics.csv", pd.DataFrame(history))
        if self._writer is None:
            self._writer = SummaryWriter(self.folder / "tensorboard", purge_step=history[-1]["epoch"])
        for name, value in history[-1].items():
            if name != "epoch":
                self._writer.add_scalar(name, value, history[-1]["epoch"])
        self._writer.flush()

    def close(self):
        if self._writer is not None:
            self._writer.close()


def save_results(folder, section, values):
    """Put `values` under `section` of folder/results.json, which the scripts of a run share."""
    path = folder / "results.json"
    results = read_json(path) if path.is_file() else {}
    write_json(path, {**results, section: values})


def format_table(rows, header):
    """Rows of strings as aligned text."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])
