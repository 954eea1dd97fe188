"""AutoAugment and RandAugment: torchvision's policies and operations, drawn from a NumPy generator.

torchvision's own draw from torch's global generator, which the training thread needs for dropout while batches are prepared in
another one. So its tables and operations are used, and the drawing is done here.
"""

import torch
from torchvision.transforms import v2

GREY = 128  # what is shown where a picture was moved away, as in the papers' code


class AutoAugment(v2.AutoAugment):
    """Two operations an image, from a policy that was learnt on SVHN (Cubuk et al. 2019, arXiv:1805.09501).

    Called with images uint8 (B, 3, H, W) and a NumPy generator; returns the same shape and memory format.
    """

    def __init__(self):
        super().__init__(v2.AutoAugmentPolicy.SVHN, v2.InterpolationMode.BILINEAR, GREY)

    def __call__(self, images, rng):
        return _each(self, images, rng)

    def draw(self, rng, height, width):
        """[(operation, magnitude)] for one image."""
        policy = self._policies[rng.integers(len(self._policies))]
        chosen = [(name, level) for name, prob, level in policy if rng.random() <= prob]
        return [(name, _magnitude(self._AUGMENTATION_SPACE[name], 10, level, height, width, rng)) for name, level in chosen]


class RandAugment(v2.RandAugment):
    """Two operations an image, any of fourteen, at magnitude 9 of 30 (Cubuk et al. 2020, arXiv:1909.13719).

    Called with images uint8 (B, 3, H, W) and a NumPy generator; returns the same shape and memory format.
    """

    def __init__(self):
        super().__init__(interpolation=v2.InterpolationMode.BILINEAR, fill=GREY)

    def __call__(self, images, rng):
        return _each(self, images, rng)

    def draw(self, rng, height, width):
        """[(operation, magnitude)] for one image."""
        names, bins = rng.choice(list(self._AUGMENTATION_SPACE), self.num_ops), self.num_magnitude_bins
        spaces = [self._AUGMENTATION_SPACE[name] for name in names]
        return [(str(n), _magnitude(s, bins, self.magnitude, height, width, rng)) for n, s in zip(names, spaces, strict=True)]


def _magnitude(space, num_levels, level, height, width, rng):
    """The strength of an operation at `level`, with a random sign where the operation has two directions."""
    values, signed = space
    levels = values(num_levels, height, width)
    if levels is None:
        return 0.0
    return float(levels[level]) * (-1 if signed and rng.random() <= 0.5 else 1)


def _each(augmentation, images, rng):
    changed = torch.empty_like(images)
    for image, target in zip(images, changed, strict=True):
        for name, magnitude in augmentation.draw(rng, *images.shape[2:]):
            image = augmentation._apply_image_or_video_transform(
                image, name, magnitude, augmentation.interpolation, augmentation._fill
            )
        target.copy_(image)
    return changed
