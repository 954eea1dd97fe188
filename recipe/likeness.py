"""How near a student comes to its teacher on pictures that it is judged by."""

import numpy as np

from data.batches import EvalBatches
from data.targets import is_of, read_oof
from recipe.pictures import open_data
from recipe.saved_model import load_teacher
from utils import distributed
from utils.engine import predict
from utils.metrics import agreement, kl_divergence
from utils.precision import Precision


def teacher_of(run, held_out):
    """The teacher's probabilities (M, K) for the held-out pictures; None where nobody taught, or it was not asked about them.

    Of the folds' models what e4.py noted: of pictures that were trained on too, by the model that never saw them.
    """
    section = run.config.student
    if section.distillation == "none" or (section.distillation in ("oof", "views") and not section.teacher_weight):
        return None
    checkpoints = section.online_teachers if section.distillation in ("online", "both") else ()
    if section.labels_views and not section.labelled_by_folds:
        checkpoints = (section.views_by,)
    if checkpoints:
        return np.mean([answers_of(path, run, held_out) for path in checkpoints], axis=0)
    folder = run.folder.of_teacher(section.oof)
    tables = [section.oof or folder.oof] if held_out.in_training_set else folder.validation_tables()
    if not tables or not all(is_of(path, held_out.dataset) for path in tables):
        return None
    return np.mean([read_oof(path, held_out.dataset) for path in tables], axis=0)[held_out.rows]


def answers_of(path, run, held_out):
    """Probabilities (M, K) of the checkpoint `path` for the held-out pictures, by all processes together."""
    saved = load_teacher(path, run.config.student, held_out.dataset, run.device)
    dataset, validation = open_data(run, saved.preprocessing)
    images = (dataset if held_out.in_training_set else validation).images
    share = held_out.rows[distributed.rank() :: distributed.world_size()]
    probs = np.empty((0, len(saved.classes)), np.float32)
    if len(share):
        batches = EvalBatches(images, share, batch_size=64, preprocessing=saved.preprocessing, device=run.device)
        probs = predict(saved.model, batches, Precision("auto", run.device))
    return distributed.gather_rows(probs)


def likeness(teacher, probs):
    """{'teacher_agreement': share of pictures with the same most probable class, 'teacher_kl': KL(teacher || student) in nats}.

    Both (M, K); the means over the pictures. {} without a teacher.
    """
    return {} if teacher is None else {"teacher_agreement": agreement(teacher, probs), "teacher_kl": kl_divergence(teacher, probs)}
