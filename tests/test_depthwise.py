"""The fast depthwise gradient: the same numbers as PyTorch's, only while training, only where it applies."""

import pytest
import torch
from torch import nn

from models import build_model
from utils.depthwise import DepthwiseConv2d, _Depthwise, fast_weight_gradients, weight_gradient


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (4, 9), (6, 6)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(5, 1, 2), (5, 2, 2), (3, 1, 1), (3, 2, 1), ((5, 3), (2, 1), (2, 1)), (7, 3, 4)]
)
def test_gradients_are_those_of_pytorch(size, kernel, stride, padding):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, kernel, stride, padding, groups=6, bias=False).double()
    x = torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)
    expected = conv(x)
    ours = _Depthwise.apply(x, conv.weight, conv.stride, conv.padding)
    grad_output = torch.randn_like(expected)
    assert torch.equal(ours, expected)
    for a, b in zip(
        torch.autograd.grad(ours, (x, conv.weight), grad_output),
        torch.autograd.grad(expected, (x, conv.weight), grad_output),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_training_step_gives_the_same_gradients_and_the_model_stays_what_it_was(monkeypatch):
    model = build_model("mobilenet_v3_small", 7, image_size=64).to(memory_format=torch.channels_last).train()
    images, classes = torch.randn(4, 3, 64, 64).to(memory_format=torch.channels_last), [type(module) for module in model.modules()]

    def gradients():
        torch.manual_seed(0)
        model.zero_grad()
        model(images).logsumexp(1).sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    expected, shapes = gradients(), []
    monkeypatch.setattr("utils.depthwise.weight_gradient", lambda x, *rest: shapes.append(x.shape[2]) or weight_gradient(x, *rest))
    with fast_weight_gradients(model):
        assert sum(isinstance(module, DepthwiseConv2d) for module in model.modules()) == 11
        ours = gradients()
    assert sorted(shapes) == [2, 2] + 5 * [4]  # at 64 px, the layers whose 5 x 5 filter is larger than the picture that is left
    assert [type(module) for module in model.modules()] == classes
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-4 * b.abs().max().item())


def test_it_stays_away_from_evaluation_and_from_other_precisions(monkeypatch):
    monkeypatch.setattr(_Depthwise, "apply", lambda *_: pytest.fail("must not be used"))
    conv = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
    x = torch.randn(2, 8, 4, 4)
    with fast_weight_gradients(conv):
        with torch.inference_mode():
            conv(x)
        with torch.autocast("cpu", torch.bfloat16):
            conv(x)
        conv(torch.randn(2, 8, 5, 5))  # not smaller than the filter
