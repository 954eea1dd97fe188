"""The fast convolutions: the same numbers as PyTorch's, only while training, only where they apply."""

import pytest
import torch
from torch import nn

from models import build_model
from utils.convolutions import DepthwiseConv2d, PointwiseConv2d, _Depthwise, fast_convolutions, weight_gradient


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (4, 9), (6, 6)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(5, 1, 2), (5, 2, 2), (3, 1, 1), (3, 2, 1), ((5, 3), (2, 1), (2, 1)), (7, 3, 4)]
)
def test_depthwise_gradients_are_those_of_pytorch(size, kernel, stride, padding):
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
    monkeypatch.setattr(
        "utils.convolutions.weight_gradient", lambda x, *rest: shapes.append(x.shape[2]) or weight_gradient(x, *rest)
    )
    with fast_convolutions(model):
        assert sum(isinstance(module, DepthwiseConv2d) for module in model.modules()) == 11
        assert sum(isinstance(module, PointwiseConv2d) for module in model.modules()) == 40
        ours = gradients()
    assert sorted(shapes) == [2, 2] + 5 * [4] + [8]  # at 64 px, the layers with a 5 x 5 filter
    assert [type(module) for module in model.modules()] == classes
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-6 + 1e-4 * b.abs().max().item())


@pytest.mark.parametrize("size", [(1, 1), (5, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_1_x_1_convolutions_are_those_of_pytorch(size, bias):
    conv = nn.Conv2d(6, 9, 1, bias=bias)
    x = torch.randn(4, 6, *size).to(memory_format=torch.channels_last).requires_grad_()
    wanted = [x, *conv.parameters()]
    expected = conv(x)
    with fast_convolutions(conv):
        ours = conv(x)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert "Convolution" not in str(ours.grad_fn.next_functions)
    torch.testing.assert_close(ours, expected)
    for a, b in zip(torch.autograd.grad(ours.exp().sum(), wanted), torch.autograd.grad(expected.exp().sum(), wanted), strict=True):
        torch.testing.assert_close(a, b)


def test_they_stay_away_from_evaluation_and_from_other_precisions(monkeypatch):
    for name in ("utils.convolutions._Depthwise.apply", "torch.nn.functional.linear"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("must not be used"))
    depthwise, pointwise = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), nn.Conv2d(8, 8, 1)
    x = torch.randn(2, 8, 4, 4)
    for conv in (depthwise, pointwise):
        with fast_convolutions(conv):
            with torch.inference_mode():
                conv(x)
            with torch.autocast("cpu", torch.bfloat16):
                conv(x)
    with fast_convolutions(depthwise):
        depthwise(torch.randn(2, 8, 9, 9))  # too many pixels
    for other in (nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 8, 1, padding=1)):
        with fast_convolutions(other):
            other(x)
