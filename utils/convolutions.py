"""Convolutions of mobile networks that train faster on a CPU than those of PyTorch's library (oneDNN) there.

A 1 x 1 convolution is a matrix product: as one it takes half the time where maps are small, as in squeeze-and-excitation. For the
weights of depthwise convolutions whose filter is wider than three pixels, or larger than their input, the library has no fast
gradient: for 576 channels of 4 x 4 pixels and a 5 x 5 filter it takes twenty times as long as the forward pass.
`benchmarks/convolutions.py` measures what both bring.
"""

import contextlib

import torch
import torch.nn.functional as F
from torch import nn

FEW_PIXELS = 64  # of a depthwise convolution's input: its gradient here grows with their square


@contextlib.contextmanager
def fast_convolutions(model):
    """Within the block, the convolutions of `model` train faster; what they compute is the same up to rounding."""
    chosen = {module: _faster(module) for module in model.modules() if type(module) is nn.Conv2d and _is_plain(module)}
    for module, faster in chosen.items():
        module.__class__ = faster
    try:
        yield
    finally:
        for module in chosen:
            module.__class__ = nn.Conv2d


def _is_plain(conv):
    return conv.dilation == (1, 1) and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _faster(conv):
    if conv.groups == conv.in_channels == conv.out_channels > 1 and conv.bias is None:
        return DepthwiseConv2d
    if (conv.groups, conv.kernel_size, conv.stride, conv.padding) == (1, (1, 1), (1, 1), (0, 0)):
        return PointwiseConv2d
    return nn.Conv2d


def _trains_here(conv, x):
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and torch.is_grad_enabled() and conv.weight.requires_grad


class PointwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` of 1 x 1 pixels as a matrix product."""

    def forward(self, x):
        if not _trains_here(self, x):
            return super().forward(x)
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with the gradient of this file where that is the faster one."""

    def forward(self, x):
        (height, width), (rows, columns) = x.shape[2:], self.kernel_size
        slow = columns > 3 or rows > height or columns > width
        if slow and height * width <= FEW_PIXELS and _trains_here(self, x):
            return _Depthwise.apply(x, self.weight, self.stride, self.padding)
        return super().forward(x)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx, grad_output):
        x, weight = ctx.saved_tensors
        grad_input = None
        if ctx.needs_input_grad[0]:
            grad_input = torch.ops.aten.convolution_backward(
                grad_output, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight), (True, False, False)
            )[0]
        return grad_input, weight_gradient(x, grad_output, weight.shape[2:], ctx.stride, ctx.padding), None, None


def weight_gradient(x, grad_output, kernel_size, stride, padding):
    """Gradient (C, 1, *kernel_size) of a depthwise convolution's weight, from its input `x` (B, C, H, W) and the gradient of its
    output (B, C, H', W'): one matrix product a channel multiplies each pixel of the one with each of the other, summed over the
    batch; each element of the filter is the sum over the pairs that it joins.
    """
    pairs = (_by_channel(x).transpose(1, 2) @ _by_channel(grad_output)).flatten(1)  # (C, HW x H'W')
    rows, columns = (
        _joined(x.shape[axis + 2], grad_output.shape[axis + 2], kernel_size[axis], stride[axis], padding[axis]) for axis in (0, 1)
    )
    joined = (rows[:, None, :, None, :, None] & columns[None, :, None, :, None, :]).reshape(pairs.shape[1], -1)
    return (pairs @ joined.to(pairs.dtype)).view(-1, 1, *kernel_size)


def _by_channel(images):
    """(B, C, H, W), channels last in memory -> (C, B, HW)."""
    batch, channels = images.shape[:2]
    return images.permute(0, 2, 3, 1).reshape(-1, channels).t().contiguous().view(channels, batch, -1)


def _joined(size_in, size_out, kernel_size, stride, padding):
    """bool (size_in, size_out, kernel_size): whether, along one axis, this element of the filter joins these two pixels."""
    met = torch.arange(size_out)[:, None] * stride + torch.arange(kernel_size) - padding
    return torch.arange(size_in)[:, None, None] == met
