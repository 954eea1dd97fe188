"""Pooling against direct formulas; every pooling trains, fuses and carries its size to the head."""

import numpy as np
import pytest
import torch
from helpers import largest_relative_difference, with_random_statistics

from data.dataset import open_dataset
from data.targets import one_hot
from deploy.fuse import fuse
from models import build_model
from models.pooling import POOLINGS, GeMPooling
from recipe.training import Training, train_batches, train_model
from utils.config import RunConfig
from utils.config_values import build_dataclass
from utils.run_folder import RunFolder
from utils.session import Session


def maps():
    return torch.rand(4, 6, 3, 5, generator=torch.Generator().manual_seed(0)) + 0.1


def test_avg_is_the_mean_of_all_places():
    assert torch.allclose(POOLINGS["avg"]()(maps()), maps().flatten(2).mean(2))


def test_concat_is_the_mean_and_then_the_maximum():
    pooled = POOLINGS["concat"]()(maps())
    assert torch.allclose(pooled[:, :6], maps().flatten(2).mean(2))
    assert torch.equal(pooled[:, 6:], maps().flatten(2).max(2).values)


def test_gem_is_the_generalised_mean_between_mean_and_maximum():
    x = maps().flatten(2)
    assert torch.allclose(GeMPooling(p=1.0)(maps()), x.mean(2))
    assert torch.allclose(GeMPooling(p=3.0)(maps()), ((x**3).sum(2) / 15) ** (1 / 3))
    assert torch.allclose(GeMPooling(p=60.0)(maps()), x.max(2).values, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gem_has_finite_gradients_where_all_is_zero(dtype):
    pool, x = GeMPooling(), torch.zeros(2, 3, 4, 4, dtype=dtype, requires_grad=True)
    pool(x).sum().backward()
    assert x.grad.isfinite().all()
    assert pool.p.grad.isfinite().all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_model_with_any_pooling_trains_and_fuses(pooling):
    model = build_model("mobilenet_v3_small", 5, head="mlp1280", pooling=pooling, image_size=64)
    model(torch.randn(4, 3, 64, 64)).logsumexp(1).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model.head[0].in_features == model.num_features == {"avg": 576, "concat": 1152, "gem": 576}[pooling]
    with_random_statistics(model)
    assert largest_relative_difference(model, fuse(model), (2, 3, 64, 64)) < 1e-5


def test_learned_power_of_gem_is_trained(textiles, tmp_path):
    """On feature maps of 2 x 2: of a single place the mean is the same whatever its power."""
    config = build_dataclass(
        RunConfig,
        {"student": {"pooling": "gem", "weights": "none", "image_size": 64, "resize": None, "epochs": 1, "optimizer": "adamw"}},
    )
    run, model = Session(config, RunFolder(tmp_path), torch.device("cpu")), build_model("mobilenet_v3_small", 7, pooling="gem")
    dataset = open_dataset(textiles / "train", tmp_path, 64)
    job, targets = Training(run, config.student, dataset, run.folder.student, ""), one_hot(dataset.labels, 7)
    train_model(job, model, train_batches(job, np.arange(14), targets), None)
    assert model.pool.p.item() != 3.0
