"""Distillation with teachers in the loop: they see the same mixed and augmented pictures as the student."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Teacher:
    """A trained model and how its input differs from the student's."""

    model: torch.nn.Module  # (B, 3, S, S) -> logits (B, K)
    image_size: int  # pixels
    adapt: Callable  # the student's normalised images -> as the teacher was trained on them

    def __post_init__(self):
        self.model.eval().requires_grad_(False)

    def __call__(self, images):
        """Logits float32 (B, K) for the student's normalised images (B, 3, H, W)."""
        images = self.adapt(images)
        if images.shape[2] != self.image_size:
            images = F.interpolate(images, (self.image_size, self.image_size), mode="bilinear", antialias=True)
        return self.model(images).float()


@torch.no_grad()
def teacher_probabilities(teachers, images, temperature):
    """What `teachers` say of the images (B, 3, H, W) at the temperature, the mean of their distributions: float32 (B, K)."""
    return torch.stack([(teacher(images) / temperature).softmax(1) for teacher in teachers]).mean(0)


def kl_divergence(teacher_probs, logits, temperature):
    """T^2 KL(teacher_probs || softmax(logits / T)), mean over the batch; T^2 keeps the gradients' size whatever T is."""
    log_probs = (logits.float() / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(log_probs, teacher_probs, reduction="batchmean")
