"""What training minimises: objectives `(logits, targets, images, step) -> loss`, each around the one before.

A plain loss; the angular margin around it; teachers in the loop around that. `step` counts from 0 over the whole run.
"""

from utils.distillation import kl_divergence, teacher_probabilities
from utils.losses import arcface_margin


def plain(loss):
    """`loss`, a function of (logits, targets), whatever the images and the step."""
    return lambda logits, targets, images, step: loss(logits, targets)


def with_margin(objective, growing_steps, *, scale, margin=0.5):
    """`objective` of logits after `arcface_margin`, whose margin grows linearly from 0 to `margin` over `growing_steps`.

    The whole margin from the start lets a network from scratch end where all its embeddings are one.
    """

    def loss_at(logits, targets, images, step):
        now = margin * min(1.0, step / growing_steps) if growing_steps else margin
        return objective(arcface_margin(logits, targets, scale=scale, margin=now), targets, images, step)

    return loss_at


def with_teachers(objective, teachers, *, weight, temperature):
    """(1 - weight) `objective` + weight T^2 KL(teachers || student), both distributions at temperature T.

    `teachers`, a list of `utils.distillation.Teacher`, are averaged as probabilities. With weight 1 the labels do not
    matter: the student imitates a function, for which long training and strong mixing pay (Beyer et al. 2022, arXiv:2106.05237).
    Source: Hinton et al. 2015, arXiv:1503.02531.
    """

    def loss_at(logits, targets, images, step):
        distance = kl_divergence(teacher_probabilities(teachers, images, temperature), logits, temperature)
        return (1 - weight) * objective(logits, targets, images, step) + weight * distance

    return loss_at
