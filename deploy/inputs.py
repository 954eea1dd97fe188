"""What an exported network takes: normalised floats as in training, raw pixels of the right size, or whole pictures."""

from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from data.preprocessing import Preprocessing


@dataclass(frozen=True)
class NetworkInput:
    preprocessing: Preprocessing  # of the checkpoint
    pixels: bool = False  # raw uint8 NHWC; otherwise normalised float32 NCHW
    color: str = "rgb"  # channel order of raw pixels
    whole_pictures: bool = False  # the IR resizes and cuts by itself, one picture at a time; the ONNX file does not
    fixed_batch: bool = False  # exactly one image

    def __post_init__(self):
        fit = self.preprocessing.fit
        if self.whole_pictures and fit != "stretch":
            raise UserError(
                f"the student was trained with fit='{fit}', but an IR that takes whole pictures can only stretch them. "
                "Export without --resize."
            )

    @property
    def ir_pixels(self):
        """The argument `pixels` of `deploy.openvino_ir.save_ir`."""
        if not self.pixels:
            return None
        resize = self.preprocessing.resize if self.whole_pictures else None
        return self.preprocessing.mean, self.preprocessing.std, self.color, resize

    def onnx_input(self, squares):
        """uint8 RGB squares (N, R, R, 3), R = `resize` -> the batch that the ONNX file takes."""
        if self.pixels:
            return self.ordered(self.preprocessing.cut(squares))
        return self.preprocessing.network_input(squares)

    def ir_input(self, squares):
        """uint8 RGB squares (N, R, R, 3) -> the batch that the IR takes.

        Whole pictures are given at twice the size, pixels repeated, which the IR's own resize takes back exactly.
        """
        if self.whole_pictures:
            return self.ordered(squares.repeat(2, axis=1).repeat(2, axis=2))
        return self.onnx_input(squares)

    def picture_input(self, pixels):
        """A picture of any size, uint8 RGB (H, W, 3) -> the batch of one that the IR takes."""
        if self.whole_pictures:
            return self.ordered(pixels[None])
        return self.onnx_input(self.preprocessing.square(pixels)[None])

    def ordered(self, pixels):
        """RGB pixels (..., 3) in the channel order that the network takes."""
        return np.ascontiguousarray(pixels[..., ::-1] if self.color == "bgr" else pixels)

    def describe(self):
        """The section `input` of manifest.json."""
        size = self.preprocessing.image_size
        batch = 1 if self.fixed_batch else None
        ir_shape = [1, None, None, 3] if self.whole_pictures else [batch, size, size, 3]
        return {
            "shape": ir_shape if self.pixels else [batch, 3, size, size],
            "onnx_shape": [batch, size, size, 3] if self.pixels else [batch, 3, size, size],
            "layout": "NHWC" if self.pixels else "NCHW",
            "type": "uint8" if self.pixels else "float32",
            "color": self.color if self.pixels else "rgb",
            "normalised_by": "network" if self.pixels else "caller: (pixel / 255 - mean) / std",
            "resized_by": "IR" if self.whole_pictures else "caller",
        }
