"""What several test files need: the scripts called as functions, small configs, comparisons of weights."""

import contextlib
import importlib
import os
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from data.preprocessing import Preprocessing
from utils import session
from utils.checkpoints import load_checkpoint

REPO = Path(__file__).resolve().parent.parent
TWO_PROCESSES = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]  # for `call`; on a port that is free
RUN_CONFIG = """
name = "t"
work_dir = {work_dir!r}
num_threads = 1
data = dict(root={root!r}, val_root={val_root!r})
teacher = dict(backbone="mobilenet_v3_small", weights="none", image_size=32, batch_size=16, epochs=2, num_folds=3)
student = dict(weights="none", image_size=32, resize=36, batch_size=16, epochs=3, final_epochs=2)
"""


def write_config(folder, root, val_root, name="config.py"):
    """A config of the smallest run in `folder`, which keeps its runs there too; returns its path."""
    values = {"work_dir": str(folder / "runs"), "root": str(root), "val_root": val_root and str(val_root)}
    (folder / name).write_text(RUN_CONFIG.format(**values), encoding="utf-8")
    return folder / name


def run_script(script, *arguments, cwd):
    """Call a script's `main` within this process, as it would be called in the folder `cwd`.

    Exports measure speed in no time, and leave out the report, which has tests of its own.
    """
    is_export = script == "export_openvino.py"
    arguments += ("--no-report",) * is_export
    brief = mock.patch("deploy.timing.SECONDS", 0.05) if is_export else contextlib.nullcontext()
    with contextlib.chdir(cwd), brief:
        importlib.import_module(script.removesuffix(".py")).main([*map(str, arguments)])


def refusal(script, *arguments, cwd):
    """The message with which a script refuses its arguments."""

    def main():
        run_script(script, *arguments, cwd=cwd)

    try:
        session.run_script(main)
    except SystemExit as error:
        return str(error.code)
    raise AssertionError(f"{script} {' '.join(map(str, arguments))}: was not refused")


def preprocessing(image_size, resize, *, mean=0.5, std=1.0):
    """Of a network that takes stretched pictures."""
    return Preprocessing(image_size, resize, "stretch", (mean,) * 3, (std,) * 3)


def weights(path):
    """The state dict in a checkpoint file."""
    return load_checkpoint(path)["model"]


def assert_same_weights(a, b):
    """Two checkpoint files hold the same model to the bit."""
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def contents(folder, pattern="*"):
    """{path: (bytes, time of the last change)} of the files below `folder`."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob(pattern) if path.is_file()}


def environment():
    """For subprocesses: the project importable, no GPU."""
    return {**os.environ, "PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": ""}


def with_random_statistics(model):
    """A fresh BatchNorm is all but the identity: fusing it wrongly would go unnoticed."""
    torch.manual_seed(0)
    for norm in batchnorms(model):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.1)
    return model.eval()


def batchnorms(model):
    """All BatchNorm modules of the model."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def largest_relative_difference(model, other, shape):
    """Of two models' answers to a random batch of that shape."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, answer = model(x), other(x)
    return ((expected - answer).abs().max() / expected.abs().max()).item()
