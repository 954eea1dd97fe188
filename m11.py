"""Student: MobileNetV3-small from labels that are 8 parts truth and 2 parts teacher, then averaged checkpoints.

    python m11.py                                  the contest platform (configs/jishi.py)
    python m11.py configs/demo.py                  embedded data, minutes on two cores
    python m11.py configs/clothing.py --cfg-options student.oof=OTHER/oof.csv name=again
    python m11.py CONFIG --cfg-options student.distillation=none    labels alone, no teacher needed
    python m11.py configs/clothing_patient.py      teachers in the loop
    torchrun --nproc_per_node=4 m11.py CONFIG      several GPUs

Reads runs/<name>/oof.csv, which e4.py wrote. Leaves runs/<name>/student/{best,final_1..4,averaged}.pth; next comes
export_openvino.py. Interrupted? The same command goes on.
"""

import hashlib
from pathlib import Path

import numpy as np

from data.targets import blend_targets, harden, one_hot, read_oof, smooth
from recipe import steps
from utils import distributed, session
from utils.averaging import average_checkpoints
from utils.metrics import accuracy, draw_confusion_matrix
from utils.runlog import check_same_settings, format_table, log, save_results


def main(argv=None):
    run = session.start(session.argument_parser(__doc__), argv)
    train, folder = run.config.student, run.folder / "student"

    dataset, validation = steps.open_data(run, train)
    targets = soft_targets(run, dataset)
    rows, (held_out_data, held_out) = steps.student_split(run, dataset, validation)
    teachers, teacher_hashes = steps.online_teachers(run, train, dataset)
    settings = {**steps.training_settings(run, train, dataset), "targets": hashlib.sha256(targets.tobytes()).hexdigest(),
                "teachers": teacher_hashes}  # fmt: skip
    distributed.main_first(lambda: check_same_settings(folder, settings))
    evaluate = steps.evaluator(run, train, held_out_data, held_out)

    model = steps.new_model(run, train, len(dataset.classes))
    if train.head_epochs:
        features = steps.frozen_features(run, train, model, dataset, folder / "features.npy")
        steps.train_head(run, train, model, features, rows, targets, folder)
    batches = steps.make_train_batches(run, train, dataset, rows, targets)
    steps.train_model(run, train, model, batches, evaluate, folder, steps.checkpoint_meta(train, dataset), teachers)

    if train.final_epochs:
        average_final_epochs(run, dataset, targets, teachers)
    report(run, evaluate)


def soft_targets(run, dataset):
    """(N, K): hard labels, smoothed if asked for, blended with the teacher's out-of-fold predictions."""
    train = run.config.student
    targets = smooth(one_hot(dataset.labels, len(dataset.classes)), train.label_smoothing)
    if train.teacher_weight and train.distillation in ("oof", "both"):
        teacher = read_oof(train.oof or run.folder / "oof.csv", dataset)
        targets = blend_targets(targets, harden(teacher) if train.hard_oof else teacher, train.teacher_weight)
    return targets


def average_final_epochs(run, dataset, targets, teachers):
    """Second stage: from the best checkpoint, all images of data.root, a few epochs at a tiny rate; their mean is the student."""
    train, folder = run.config.student, run.folder / "student"
    every_row = np.arange(len(dataset))
    batches = steps.make_train_batches(run, train, dataset, every_row, targets, final=True)
    names = steps.train_final_epochs(run, train, batches, folder, steps.checkpoint_meta(train, dataset), teachers)
    if distributed.is_main():
        average_checkpoints([folder / name for name in names], folder / "averaged.pth")
    distributed.barrier()
    if train.reestimate_batchnorm:
        steps.reestimate_statistics(run, batches, folder / "averaged.pth")


def report(run, evaluate):
    """Measure what lies on disk, not what is in memory, and say where it is."""
    folder, rows, results = run.folder / "student", [], {}
    # Without data.val_root the held-out fold is among the images of the second stage.
    seen = "" if run.config.data.val_root else " (its fold was trained on)"
    for name in ("best", "averaged"):
        path = Path(folder, f"{name}.pth")
        if path.is_file():
            model, meta = steps.load_model(path, run.device)
            probs, labels = evaluate(model)
            results[f"{name}_accuracy"] = accuracy(probs, labels)
            rows.append((name + seen * (name == "averaged"), f"{results[f'{name}_accuracy']:.4f}", str(path)))
    if distributed.is_main():
        save_results(run.folder, "student", results)
        draw_confusion_matrix(folder / "confusion.png", probs, labels, meta["classes"])
        log.info(format_table(rows, ("student", "validation accuracy", "where")))


if __name__ == "__main__":
    session.run_script(main)
