"""Small real data for all tests: a few drawn fabrics, decoded through the real path."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data.dataset import open_dataset
from data.textiles import write_textiles

torch.set_num_threads(1)
REPO = Path(__file__).parent.parent
RUN_CONFIG = """
name = "t"
work_dir = {work_dir!r}
num_threads = 1
data = dict(root={root!r}, val_root={val_root!r})
teacher = dict(backbone="mobilenet_v3_small", weights="none", image_size=32, batch_size=16, epochs=2, num_folds=3)
student = dict(weights="none", image_size=32, resize=36, batch_size=16, epochs=3, final_epochs=2)
"""


@pytest.fixture(scope="session")
def textiles(tmp_path_factory):
    """Folder with train/ (84 pictures) and validation/ (28) of seven classes, 48 px."""
    root = tmp_path_factory.mktemp("data") / "textiles"
    write_textiles(root, num_train=84, num_val=28, size=48, wrong_labels=0.0, seed=1)
    return root


@pytest.fixture(scope="session")
def dataset(textiles, tmp_path_factory):
    return open_dataset(textiles / "train", tmp_path_factory.mktemp("run"), 40)


@pytest.fixture(scope="session")
def script_environment():
    """For subprocesses: one thread each and no terminal bars."""
    return {**os.environ, "PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def workplace(textiles, tmp_path_factory):
    """A config file in a folder of its own."""
    folder = tmp_path_factory.mktemp("work")
    values = {"work_dir": str(folder / "runs"), "root": str(textiles / "train"), "val_root": str(textiles / "validation")}
    (folder / "config.py").write_text(RUN_CONFIG.format(**values))
    return folder


@pytest.fixture(scope="module")
def call(workplace, script_environment):
    """(script, *arguments) -> the finished process; config and options given as a user would."""

    def run(script, *arguments, launcher=(), check=True):
        command = [sys.executable, *launcher, str(REPO / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=script_environment, cwd=workplace, timeout=240)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def trained(call, workplace):
    """The run folder after e4.py and m11.py."""
    call("e4.py", "config.py")
    call("m11.py", "config.py")
    return workplace / "runs" / "t"
