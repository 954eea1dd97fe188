"""What a network sees of a picture: squared, its middle cut out, normalised. One object, from the checkpoint to the IR's notes."""

import dataclasses
import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from common.errors import UserError
from data.crops import center_crop

FITS = ("stretch", "pad")
SIZES = range(8, 4097)  # pixels that a network's input, or the square before the cut, may have on a side
SHRINK_ON_LOAD = range(17)  # times `resize`
PADDING = 128  # grey beside pictures that keep their proportions: next to 0 once pixels are normalised


@dataclass(frozen=True)
class Preprocessing:
    """Picture of any size -> `resize` x `resize` pixels -> the middle `image_size` x `image_size` -> (pixel / 255 - mean) / std."""

    image_size: int  # pixels on a side of the network's input
    resize: int  # pixels on a side before the cut
    fit: str  # `stretch` into that square: proportions not kept; or `pad`: kept, with grey beside the picture
    mean: tuple[float, float, float]  # R, G, B; of pixels in 0..1
    std: tuple[float, float, float]
    shrink_on_load: int = 0  # JPEGs are decoded at a scale that leaves both sides so many times `resize`; 0: in their own size

    def __post_init__(self):
        if not (self.image_size in SIZES and self.resize in SIZES and self.image_size <= self.resize):
            raise UserError(
                f"image_size={self.image_size}, resize={self.resize}: must be whole numbers of pixels from {SIZES[0]} to "
                f"{SIZES[-1]}, and resize, the size before the cut, not the smaller one."
            )
        if self.shrink_on_load not in SHRINK_ON_LOAD:
            raise UserError(f"shrink_on_load={self.shrink_on_load}: must be a whole number from 0 to {SHRINK_ON_LOAD[-1]}.")
        if self.fit not in FITS:
            raise UserError(f"fit={self.fit!r}: must be one of {', '.join(FITS)}.")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise UserError(f"mean={self.mean}, std={self.std}: must be three finite numbers each, those of std above 0.")

    def as_dict(self):
        """JSON types, for checkpoints, manifests and an IR's notes; `from_dict` reads them back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values, source):
        """The object that `as_dict` wrote; values may be the texts of an IR's notes too.

        Raises UserError, which names the file `source`, for a missing key and a value out of range.
        """
        try:
            return cls(
                image_size=int(values["image_size"]),
                resize=int(values["resize"]),
                fit=values["fit"],
                mean=_three_numbers(values["mean"]),
                std=_three_numbers(values["std"]),
                shrink_on_load=int(values.get("shrink_on_load", 0)),  # networks from before saw pictures in their own size
            )
        except KeyError as error:
            raise UserError(f"{source}: its notes on preprocessing lack {error}. Export or train it again.") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{source}: its notes on preprocessing cannot be read ({error}). Export or train it again.") from error
        except UserError as error:
            raise UserError(f"{source}: its notes on preprocessing make no sense: {error} Export or train it again.") from error

    @property
    def at_least(self):
        """That argument of `data.decode.decode_rgb`, for pictures that go to the network."""
        return least_sides(self.resize, self.shrink_on_load)

    def square(self, pixels):
        """uint8 RGB (H, W, 3) of any size -> the whole picture as (R, R, 3), R = `resize`."""
        return resize_square(pixels, self.resize, self.fit)

    def cut(self, squares):
        """uint8 (N, R, R, 3) -> the middle that the network sees, (N, S, S, 3), S = `image_size`."""
        return center_crop(squares, np.arange(len(squares)), self.image_size)

    def normalise(self, images):
        """uint8 tensor, or float in 0..255, (B, 3, H, W) -> float32 (pixel / 255 - mean) / std, in the same memory format."""
        if len({*self.mean}) == len({*self.std}) == 1:  # plain numbers are faster than a broadcast over channels
            return images.mul(1 / (255 * self.std[0])).sub_(self.mean[0] / self.std[0])
        mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (self.mean, self.std))
        return images.div(255 * std).sub_(mean / std)

    def renormalise(self, images, other):
        """Images (B, 3, H, W) as `other` normalises them -> as this one does."""
        if (other.mean, other.std) == (self.mean, self.std):
            return images
        mean, std, their_mean, their_std = (
            torch.tensor(values, device=images.device)[:, None, None] for values in (self.mean, self.std, other.mean, other.std)
        )
        return images * (their_std / std) + (their_mean - mean) / std

    def network_input(self, squares):
        """uint8 (N, R, R, 3) -> the batch that the network was trained on, float32 array (N, 3, S, S)."""
        return self.normalise(torch.from_numpy(self.cut(squares)).permute(0, 3, 1, 2)).contiguous().numpy()


def _three_numbers(values):
    """A tuple of floats from a list, or from a text such as '[0.5, 0.5, 0.5]' or '0.5 0.5 0.5'."""
    if isinstance(values, str):
        values = values.strip("[]()").replace(",", " ").split()
    return tuple(map(float, values))


def least_sides(resize, shrink_on_load):
    """The argument `at_least` of `data.decode.decode_rgb`."""
    return shrink_on_load * resize or None


def resize_square(pixels, size, fit="stretch"):
    """uint8 (H, W, 3) -> (size, size, 3), the whole picture.

    fit: `stretch` gives up its proportions, `pad` keeps them and fills the shorter side up with grey, alike on both sides.
    """
    longer = max(pixels.shape[:2])
    interpolation = cv2.INTER_AREA if size < longer else cv2.INTER_LINEAR
    if fit == "stretch":
        return cv2.resize(pixels, (size, size), interpolation=interpolation)
    height, width = (max(1, (2 * side * size + longer) // (2 * longer)) for side in pixels.shape[:2])  # rounded, as in C++
    top, left = (size - height) // 2, (size - width) // 2
    square = np.full((size, size, 3), PADDING, np.uint8)
    square[top : top + height, left : left + width] = cv2.resize(pixels, (width, height), interpolation=interpolation)
    return square
