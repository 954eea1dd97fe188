"""What training sees of the cached pictures: a part that is cut out, augmented, as large as the epoch asks for, normalised."""

import torch
import torch.nn.functional as F

from common.errors import UserError
from data.augment import batched_pipeline, horizontal_flip, hue_saturation_value
from data.crops import CROPS


class TrainView:
    """Called with cached pictures uint8 (N, R, R, 3), as `preprocessing` squares them, and what `choose` chose.

    augmentation: a name from data/augment.py. backend: `batched` or `albumentations`.
    size_at: epoch -> size in pixels of the images that come of the cut; None: the network's throughout. fixed: `FixedViews`, one of
    which is taken of each picture in place of the augmentation's own cut and flip. jitter: see `FixedViews.cut`.
    Raises UserError for an unknown augmentation, and for fixed views by a pipeline that cuts for itself.
    """

    def __init__(self, preprocessing, augmentation, *, backend="batched", size_at=None, fixed=None, jitter=0.0):
        self.preprocessing, self.fixed, self.jitter = preprocessing, fixed, jitter
        self.size_at = size_at or (lambda epoch: preprocessing.image_size)
        self.pipeline, self.operations = None, ()
        if backend == "albumentations":
            if fixed:
                raise UserError("augmentation_backend='albumentations' cuts for itself: stored views take 'batched'.")
            from data.albumentations_pipelines import AlbumentationsPipeline  # a second to import, and seldom needed

            self.pipeline = AlbumentationsPipeline(augmentation, preprocessing.image_size)
        else:
            self.crop, self.operations = batched_pipeline(augmentation)
            if fixed:
                self.operations = tuple(operation for operation in self.operations if operation is not horizontal_flip)
                if any(operation is not hue_saturation_value for operation in self.operations):
                    raise UserError(
                        f"augmentation='{augmentation}' moves pixels, so what is stored of a view would be of another part of the "
                        "picture. Stored views take student_zoom_color, student_zoom, student or none."
                    )

    def choose(self, rows, rng):
        """Indices (B,) into what is learnt of the pictures number `rows`: these numbers, or with fixed views one view of each."""
        return self.fixed.choose(rows, rng) if self.fixed else rows

    def __call__(self, images, indices, epoch, rng, device):
        """float32 (B, 3, S, S), channels last, on `device`; all randomness comes from the NumPy generator `rng`."""
        size = self.size_at(epoch)
        x = to_device(self._pixels(images, indices, size, rng), device)
        for operation in self.operations:
            x = operation(x, rng)
        return self.preprocessing.normalise(_resized(x, size))

    def _pixels(self, images, rows, size, rng):
        if self.fixed:
            return self.fixed.cut(images, rows, size, self.jitter, rng)
        if self.pipeline:
            return self.pipeline(images[rows], rng)
        # A zoom resizes anyway; the other crops keep their size, so that they show as much of a picture at any size.
        return CROPS[self.crop](images, rows, size if self.crop == "zoom" else self.preprocessing.image_size, rng)


def to_device(pixels, device):
    """uint8 (B, H, W, 3) array -> uint8 (B, 3, H, W) tensor, channels last in memory."""
    tensor = torch.from_numpy(pixels)
    if device.type == "cuda":
        tensor = tensor.pin_memory().to(device, non_blocking=True)
    return tensor.permute(0, 3, 1, 2)


def _resized(images, size):
    """(B, 3, H, W) -> (B, 3, size, size), averaged over what shrinks; float32 where anything changes."""
    if images.shape[2] == size:
        return images
    return F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
