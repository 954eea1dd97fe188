"""Small real data for all tests: a few drawn fabrics, decoded through the real path."""

import os
from pathlib import Path

import pytest
import torch

from data.dataset import open_dataset
from data.textiles import write_textiles

torch.set_num_threads(1)
REPO = Path(__file__).parent.parent


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
