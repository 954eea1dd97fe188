"""The class activation map shows where the evidence is, and lies over the part of the picture that the network saw."""

import numpy as np
import torch
from torch import nn

from deploy.explain import grad_cam, overlay


class Patches(nn.Module):
    """Two feature maps of 4 x 4 places: red and blue; the class weights say which one speaks for which class."""

    def __init__(self):
        super().__init__()
        self.backbone = lambda x: nn.functional.avg_pool2d(x[:, [0, 2]], 8)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(2, 2, bias=False)
        self.head.weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])


def test_map_is_hot_where_the_class_is_seen():
    x = torch.zeros(1, 3, 32, 32)
    x[:, 0, :8, :8] = 1  # red at the top left: class 0
    x[:, 2, 24:, 24:] = 1  # blue at the bottom right: class 1
    for class_index, place in ((0, (0, 0)), (1, (3, 3))):
        heat = grad_cam(Patches(), x, class_index)
        assert heat.shape == (4, 4)
        assert heat[place] == 1
        assert np.count_nonzero(heat) == 1


def test_map_of_a_class_without_evidence_is_empty():
    assert not grad_cam(Patches(), torch.zeros(1, 3, 32, 32), 0).any()


def test_overlay_colours_only_what_the_network_saw():
    pixels = np.full((60, 40, 3), (200, 100, 50), np.uint8)
    result = overlay(pixels, np.ones((4, 4), np.float32), share=0.5)
    assert result.shape == pixels.shape
    grey = (result[..., 0] == result[..., 1]) & (result[..., 1] == result[..., 2])
    seen = np.zeros((60, 40), bool)
    seen[15:45, 10:30] = True
    assert np.array_equal(grey, ~seen)
