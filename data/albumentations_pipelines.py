"""The recipe's augmentation as Albumentations pipelines, per image; the library is kept behind this one file."""

import os

import numpy as np

from common.errors import UserError
from data.augment import batched_pipeline

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version on import
import albumentations as A

CROPS = {"center": A.CenterCrop, "random": A.RandomCrop}  # by the names of data/crops.py


def _flip():
    return [A.HorizontalFlip(p=0.5)]


def _flip_move_colour():
    return [
        *_flip(),
        A.Affine(scale=(0.85, 1.15), translate_percent=(-0.15, 0.15), border_mode=4, p=0.5),
        A.HueSaturationValue(hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=20, p=0.33),
    ]


# name -> what comes after the crop, which is that of the batched twin of the same name
PIPELINES = {"none": list, "teacher": _flip_move_colour, "student": _flip}


class AlbumentationsPipeline:
    """uint8 (B, S, S, 3) cached pictures -> uint8 (B, size, size, 3), one image after the other."""

    def __init__(self, name, size):
        if name not in PIPELINES:
            raise UserError(f"augmentation '{name}' has no Albumentations form. Known: {', '.join(PIPELINES)}.")
        crop, _ = batched_pipeline(name)
        self.pipeline = A.Compose([CROPS[crop](size, size), *PIPELINES[name]()])

    def __call__(self, images, rng):
        self.pipeline.set_random_seed(int(rng.integers(2**31)))
        return np.stack([self.pipeline(image=image)["image"] for image in images])
