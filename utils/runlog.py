"""What a run tells people: log lines, tables, what it ran on, metrics.csv and TensorBoard events."""

import io
import logging
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd

from common.errors import UserError
from common.files import make_folder, write_csv
from common.memory import usable_cpus

PACKAGES = ("torch", "torchvision", "efficientnet-pytorch", "timm", "pytorch-optimizer", "albumentations", "mmcv-lite", "mmengine",
            "opencv-python", "simplejpeg", "pillow",
            "numpy", "pandas", "scikit-learn", "onnx", "onnxruntime", "openvino")  # fmt: skip
log = logging.getLogger("run")


def start_printing(stream):
    """Log lines go to `stream`, or nowhere. What its encoding lacks, or a name that is not UTF-8, is written as numbers."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    log.propagate = False
    log.setLevel(logging.INFO)
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.addHandler(logging.StreamHandler(stream) if stream else logging.NullHandler())


def start_logging(folder, main=True):
    """Log lines go to the terminal and, with the time, to folder/log.txt; other processes than the main one stay silent.

    Only what the project itself says: the handlers are those of its own logger, not of all libraries'.
    """
    start_printing(sys.stdout if main else None)
    if not main:
        return
    make_folder(folder)
    try:
        to_file = logging.FileHandler(folder / "log.txt", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{folder}/log.txt: cannot be written ({error.strerror}). Write elsewhere: work_dir=...") from error
    to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(to_file)


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
        "usable_cpus": usable_cpus(),
        "packages": versions,
    }


def code_version():
    """The git commit of the project, with '-dirty' when files were changed since; 'unknown' outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class MetricsLog:
    """metrics.csv and TensorBoard events of one training, rewritten whole so that a resumed run has no row twice."""

    def __init__(self, folder):
        self.folder = folder
        self._writer = None

    def write_table(self, history):
        """metrics.csv alone. history: one dict of numbers per finished epoch, the newest last."""
        write_csv(self.folder / "metrics.csv", pd.DataFrame(history))

    def write(self, history):
        """metrics.csv, and the newest epoch's events."""
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and not needed to predict or export

        self.write_table(history)
        if self._writer is None:
            self._writer = SummaryWriter(self.folder / "tensorboard", purge_step=history[-1]["epoch"])
        for name, value in history[-1].items():
            if name != "epoch":
                self._writer.add_scalar(name, value, history[-1]["epoch"])
        self._writer.flush()

    def close(self):
        if self._writer is not None:
            self._writer.close()


def format_table(rows, header):
    """Rows of strings as aligned text."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])
