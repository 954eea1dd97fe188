"""Distillation with teachers in the loop: they see the same mixed and augmented pictures as the student."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from common.errors import UserError


@dataclass(frozen=True)
class Teacher:
    """A trained model and how its input differs from the student's."""

    model: torch.nn.Module  # (B, 3, S, S) -> logits (B, K)
    image_size: int  # pixels
    scale: float  # the teacher's normalised pixels are scale * the student's + offset
    offset: float

    def __call__(self, images):
        """Logits float32 (B, K) for the student's normalised images (B, 3, H, W)."""
        images = images * self.scale + self.offset
        if images.shape[2] != self.image_size:
            images = F.interpolate(images, (self.image_size, self.image_size), mode="bilinear", antialias=True)
        return self.model(images).float()


class OnlineTeachers:
    """Mixes a batch's loss with how far the student is from its teachers: (1 - weight) loss + weight T^2 KL(teacher || student).

    Both distributions are taken at temperature T; several teachers are averaged as probabilities. With weight 1 the labels do not
    matter: the student imitates a function, for which long training and strong mixing pay (Beyer et al. 2022, arXiv:2106.05237).
    Source: Hinton et al. 2015, arXiv:1503.02531.
    """

    def __init__(self, teachers, weight, temperature):
        if not 0 <= weight <= 1:
            raise UserError(f"online_weight={weight}: takes a share from 0 to 1.")
        if temperature <= 0:
            raise UserError(f"temperature={temperature}: must be above 0.")
        self.teachers, self.weight, self.temperature = teachers, weight, temperature
        for teacher in teachers:
            teacher.model.eval().requires_grad_(False)

    def mix(self, loss, logits, images):
        """The loss (scalar) of `logits` (B, K) for `images` (B, 3, H, W), mixed with the distance from the teachers."""
        return (1 - self.weight) * loss + self.weight * kl_divergence(self.probabilities(images), logits, self.temperature)

    @torch.no_grad()
    def probabilities(self, images):
        """What the teachers say at the temperature, float32 (B, K)."""
        return torch.stack([(teacher(images) / self.temperature).softmax(1) for teacher in self.teachers]).mean(0)


def kl_divergence(teacher_probs, logits, temperature):
    """T^2 KL(teacher_probs || softmax(logits / T)), mean over the batch; T^2 keeps the gradients' size whatever T is."""
    log_probs = (logits.float() / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(log_probs, teacher_probs, reduction="batchmean")
