"""Fusing finds every conv-bn and linear-bn pair by itself, and changes no answer."""

import pytest
import torch
from helpers import batchnorms, largest_relative_difference, with_random_statistics
from torch import nn

from deploy.fuse import fuse, unfused_batchnorms
from models import build_model

NETWORKS = [
    ("efficientnet_b0", "se_linear"),
    ("efficientnet_b0", "mlp1280"),
    ("efficientnet_lite0", "linear"),
    ("efficientnet_lite1", "mlp1280"),
    ("mobilenet_v3_small", "mlp1280"),
    ("shufflenet_v2_x1_0", "linear"),
    ("shufflenet_v2_x1_0", "mlp1280"),
]


@pytest.mark.parametrize(("name", "head"), NETWORKS)
def test_no_batchnorm_is_left_and_answers_stay(name, head):
    model = with_random_statistics(build_model(name, 7, head=head, image_size=64))
    fused = fuse(model)
    # Counted by hand too: in these networks every BatchNorm follows a layer.
    assert batchnorms(model)
    assert batchnorms(fused) == []
    assert unfused_batchnorms(fused) == []
    assert len(unfused_batchnorms(model)) == len(batchnorms(model))
    assert largest_relative_difference(model, fused, (2, 3, 64, 64)) < 1e-5


def test_the_model_handed_in_is_left_as_it_was():
    model = with_random_statistics(build_model("mobilenet_v3_small", 3, image_size=64)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fuse(model)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class SharedLayer(nn.Module):
    """One convolution used twice, one whose output goes elsewhere too."""

    def __init__(self):
        super().__init__()
        self.twice, self.branched = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x):
        x = self.norm2(self.twice(self.norm1(self.twice(x)).relu()))
        branch = self.branched(x)
        return self.norm3(branch) + branch


def test_layers_whose_output_is_needed_elsewhere_are_left_alone_and_named():
    model = with_random_statistics(SharedLayer())
    fused = fuse(model)
    assert unfused_batchnorms(fused) == ["norm1", "norm2", "norm3"]
    assert largest_relative_difference(model, fused, (2, 3, 8, 8)) < 1e-6


def test_batchnorm_before_a_layer_stays():
    model = with_random_statistics(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3)))
    fused = fuse(model)
    assert len(batchnorms(fused)) == 1
    assert unfused_batchnorms(fused) == []
    assert largest_relative_difference(model, fused, (2, 3, 8, 8)) == 0


def test_batchnorm_without_running_statistics_is_left_alone():
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    assert unfused_batchnorms(fuse(nn.Sequential(nn.Conv2d(3, 4, 3), norm))) == ["1"]


class Branching(nn.Sequential):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


def test_model_that_cannot_be_traced_is_copied_as_it_is():
    model = with_random_statistics(Branching(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    unfused = fuse(model.train())
    assert unfused is not model
    assert model.training
    assert unfused_batchnorms(unfused) == ["1"]
    assert largest_relative_difference(model.eval(), unfused, (2, 3, 8, 8)) == 0
