"""Backbones, their cost and the source of their ImageNet weights, as a table.

    python -m models                                          those of the recipe and some of timm
    python -m models mobilenetv4_conv_small resnet18 --size 128

Parameters and multiply-adds (of one picture) are those of the backbone alone, up to its last feature map. The features are what
`avg` pooling gives to the head, which adds a few times features x classes.
"""

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from common.errors import UserError
from models.backbones import BACKBONES, build_backbone
from models.weights import imagenet_source

SOME_OF_TIMM = [
    "ghostnet_100", "lcnet_100", "mobilenetv4_conv_small", "mobilenetv4_conv_medium", "regnety_008",
    "resnet18", "convnext_atto", "fastvit_t8", "densenet121", "seresnext50_32x4d",
]  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", default=[*BACKBONES, *SOME_OF_TIMM], help="backbones (default: all of the recipe, some of timm)"
    )
    parser.add_argument("--size", type=int, default=224, help="pixels of the square input (default: 224)")
    args = parser.parse_args(argv)
    print(f"{'backbone':28}{'parameters':>14}{f'multiply-adds at {args.size}':>24}{'features':>10}  ImageNet weights from")
    for name in args.names:
        print(row(name, args.size))


def row(name, size):
    """The line of the table for the backbone `name`; what is wrong with it, where it cannot be built."""
    try:
        num_parameters, multiply_adds, num_features = cost(name, size)
    except UserError as error:
        return f"{name:28}{error}"
    return f"{name:28}{num_parameters:>14,}{multiply_adds:>24,}{num_features:>10}  {imagenet_source(name) or 'none'}"


def cost(name, size):
    """(parameters, multiply-adds for one picture of size x size pixels, features) of the backbone `name`; UserError if unknown."""
    with torch.device("meta"):  # shapes only: nothing is drawn or computed
        backbone = build_backbone(name, image_size=size, weights="none").eval()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        backbone(torch.zeros(1, 3, size, size))
    return sum(p.numel() for p in backbone.parameters()), counter.get_total_flops() // 2, backbone.num_features


if __name__ == "__main__":
    main()
