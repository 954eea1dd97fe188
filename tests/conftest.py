"""Small real data for all tests: a few drawn fabrics, decoded through the real path, and one run of all scripts on them."""

import io
import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch
from cpp_build import build_cpp, missing_tools
from helpers import REPO, environment, run_script, write_config

from data.dataset import open_dataset
from data.textiles import write_textiles
from models import build_model
from recipe.pictures import open_data
from recipe.saved_model import load_model
from utils import session
from utils.checkpoints import save_checkpoint
from utils.run_folder import RunFolder
from utils.runlog import log, start_printing

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def users_cache(tmp_path_factory):
    """What the C++ program keeps for its user does not land in that of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def same_folder():
    """A test that went elsewhere would send all that come after it there."""
    before = os.getcwd()
    yield
    now = os.getcwd()
    os.chdir(before)
    assert now == before, f"the test left the process in {now}"


class Said:
    """What the project's log said since the test began, or since `clear()`."""

    def __init__(self):
        self.clear()

    @property
    def text(self):
        return self._stream.getvalue()

    def clear(self):
        self._stream = io.StringIO()
        start_printing(self._stream)


@pytest.fixture
def said():
    """The log's lines, by a handler of its own: pytest's `caplog` hears nothing where a script or a library changed the log's."""
    log.disabled = False
    logging.disable(logging.NOTSET)
    yield Said()
    start_printing(None)


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
    return environment()


@pytest.fixture(scope="session")
def workplace(textiles, tmp_path_factory):
    """A folder with config.py, the smallest run there is."""
    folder = tmp_path_factory.mktemp("work")
    write_config(folder, textiles / "train", textiles / "validation")
    return folder


@pytest.fixture(scope="session")
def call(workplace, script_environment):
    """(script, *arguments) -> the finished process; config and options given as a user would."""

    def run(script, *arguments, launcher=(), check=True):
        command = [sys.executable, *launcher, str(REPO / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=script_environment, cwd=workplace, timeout=240)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def trained(workplace):
    """The run folder after e4.py and m11.py. Tests leave it as it is, and change copies."""
    run_script("e4.py", "config.py", cwd=workplace)
    run_script("m11.py", "config.py", cwd=workplace)
    return workplace / "runs" / "t"


@pytest.fixture(scope="session")
def exported(trained, workplace):
    """The same run after export_openvino.py."""
    run_script("export_openvino.py", trained, cwd=workplace)
    return trained


@pytest.fixture(scope="session")
def build():
    """The folder with the C++ program and library."""
    if missing_tools():
        pytest.skip(f"the C++ parts need: apt-get install {missing_tools()}")
    return build_cpp()


@pytest.fixture(scope="session")
def deployed(trained, workplace):
    """A copy of the run whose student has an opinion of each picture, exported in FP32 and INT8. Tests leave it as it is."""
    folder = RunFolder(workplace / "runs" / "deployed")
    shutil.copytree(trained, folder.path)
    give_opinions(folder)
    run_script("export_openvino.py", folder.path, "--int8", "--int8-budget", 100, cwd=workplace)
    return folder


def give_opinions(run, backbone="test_resnet"):
    """Put another student into averaged.pth, one whose answers show wrong pixels, and do not blow up rounding errors.

    Some steps of training leave a student that says the same of all pictures. A shallow network with random weights does not,
    if its BatchNorms know the validation pictures; least squares teach its last layer their labels, so that it may be sure of them.
    """
    saved = load_model(run.student.averaged)
    _, validation = open_data(session.reopen(run.path), saved.preprocessing)
    batch = torch.from_numpy(saved.preprocessing.network_input(validation.images))
    meta = {**saved.meta, "model": {**saved.meta["model"], "name": backbone}}
    torch.manual_seed(0)
    model = build_model(**meta["model"])
    torch.optim.swa_utils.update_bn([batch], model)
    with torch.no_grad():
        hidden = torch.nn.functional.pad(model.eval().head[:-1](model.features(batch)), (0, 1), value=1.0)
        logits = 6 * torch.nn.functional.one_hot(torch.tensor(validation.labels)).float()
        weights = torch.linalg.solve(hidden.T @ hidden + 0.1 * torch.eye(hidden.shape[1]), hidden.T @ logits)
        model.head[-1].weight.copy_(weights[:-1].T)
        model.head[-1].bias.copy_(weights[-1])
    save_checkpoint(run.student.averaged, model.state_dict(), meta)
