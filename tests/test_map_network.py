"""The map within the graph is the one that gradients make, for every head and pooling, and an ONNX file keeps it."""

import itertools

import numpy as np
import onnxruntime
import pytest
import torch
from helpers import with_random_statistics

from common.errors import UserError
from deploy.explain import grad_cam
from deploy.fuse import fuse
from deploy.map_network import MapNetwork
from deploy.onnx_file import export_onnx
from models import build_model
from models.heads import HEADS
from models.pooling import POOLINGS
from models.tracing import trace

SIZE = 96  # three places on a side of the last feature map


def student(name="test_resnet", **parts):
    """A student with an opinion, in the memory layout of a loaded checkpoint."""
    torch.manual_seed(0)
    model = with_random_statistics(build_model(name, 5, image_size=SIZE, **parts))
    return model.to(memory_format=torch.channels_last)


def pictures(count):
    return 5 * torch.randn(count, 1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


def assert_close(answer, expected_logits, heat):
    logits, found = answer
    assert logits == pytest.approx(expected_logits, rel=1e-4, abs=1e-5)
    assert found == pytest.approx(heat, abs=1e-4)


@pytest.mark.parametrize(("head", "pooling"), itertools.product(HEADS, POOLINGS))
def test_map_is_that_of_the_answered_class(head, pooling):
    model = student(head=head, pooling=pooling)
    network = MapNetwork(fuse(model), torch.zeros(1, 3, SIZE, SIZE))
    maps = []
    for x in pictures(3):
        with torch.no_grad():
            answer, logits = network(x), model(x)
        heat = grad_cam(model, x, int(logits.argmax()))
        assert_close([part.numpy() for part in answer], logits.numpy(), heat)
        maps.append(heat)
    assert np.ptp(maps) > 0.1  # otherwise the comparison could not fail


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("mobilenet_v3_small", "mlp1280"),
        ("efficientnet_lite1", "linear"),
        ("efficientnet_b0", "se_linear"),
        ("mobilevitv2_050", "linear"),  # torch.fx cannot trace it
    ],
)
def test_onnx_file_has_both_outputs(name, head, tmp_path):
    model, (x,) = student(name, head=head), pictures(1)
    network = MapNetwork(fuse(model), torch.zeros(1, 3, SIZE, SIZE))
    export_onnx(network, torch.zeros(1, 3, SIZE, SIZE), tmp_path / "m.onnx", dynamic_batch=False, outputs=("logits", "map"))
    answer = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(["logits", "map"], {"image": x.numpy()})
    with torch.no_grad():
        logits = model(x)
    assert_close(answer, logits.numpy(), grad_cam(model, x, int(logits.argmax())))


class Skipping(torch.nn.Module):
    """A network whose head looks past the backbone, at the picture."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = torch.nn.Conv2d(3, 3, 3), torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.backbone(x).mean((2, 3)) + x.mean((2, 3)))


def test_network_without_a_last_feature_map_is_refused():
    with pytest.raises(UserError, match="2 values leave the backbone"):
        MapNetwork(trace(Skipping()), torch.zeros(1, 3, 8, 8))
