"""A fast weight gradient for depthwise convolutions whose filter is larger than their input, on a CPU.

PyTorch's CPU library (oneDNN) has none: for 576 channels of 4 x 4 pixels and a 5 x 5 filter its weight gradient takes a hundred
times as long as the forward pass, and a third to two thirds of a training step of MobileNetV3-small at 64 to 128 px.
`benchmarks/depthwise.py` measures it.
"""

import contextlib

import torch
import torch.nn.functional as F
from torch import nn


@contextlib.contextmanager
def fast_weight_gradients(model):
    """Within the block, the depthwise convolutions of `model` train faster; what they compute is the same."""
    chosen = [module for module in model.modules() if type(module) is nn.Conv2d and _is_plain_depthwise(module)]
    for module in chosen:
        module.__class__ = DepthwiseConv2d
    try:
        yield
    finally:
        for module in chosen:
            module.__class__ = nn.Conv2d


def _is_plain_depthwise(conv):
    return (
        conv.groups == conv.in_channels == conv.out_channels > 1
        and conv.dilation == (1, 1)
        and conv.bias is None
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with the gradient of this file where that is the faster one."""

    def forward(self, x):
        smaller_than_filter = x.shape[2] < self.kernel_size[0] or x.shape[3] < self.kernel_size[1]
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if smaller_than_filter and plain and torch.is_grad_enabled() and self.weight.requires_grad:
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
    output (B, C, H', W'): for each element of the filter, the sum over those pixels that it meets, padding left out.
    """
    x, grad_output = x.permute(0, 2, 3, 1), grad_output.permute(0, 2, 3, 1)  # both lie so in memory: channels last
    gradient = x.new_zeros(*kernel_size, x.shape[3])
    rows, columns = (
        [_met(i, x.shape[axis], grad_output.shape[axis], stride[axis - 1], padding[axis - 1]) for i in range(kernel_size[axis - 1])]
        for axis in (1, 2)
    )
    for i, (rows_in, rows_out) in enumerate(rows):
        for j, (columns_in, columns_out) in enumerate(columns):
            products = x[:, rows_in, columns_in] * grad_output[:, rows_out, columns_out]
            gradient[i, j] = products.flatten(0, 2).sum(0)
    return gradient.permute(2, 0, 1).unsqueeze(1)


def _met(offset, size_in, size_out, stride, padding):
    """Slices (of the input, of the output) along one axis: where the filter's element number `offset` lies on the input."""
    first = max(0, -((offset - padding) // stride))
    end = max(first, min(size_out, (size_in - 1 + padding - offset) // stride + 1))
    start = first * stride + offset - padding
    return slice(start, start + (end - first) * stride, stride), slice(first, end)
