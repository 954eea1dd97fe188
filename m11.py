"""Student: MobileNetV3-small from labels that are 8 parts truth and 2 parts teacher, then averaged checkpoints.

    python m11.py                                  the contest platform (configs/jishi.py)
    python m11.py configs/demo.py                  embedded data, minutes on two cores
    python m11.py configs/clothing.py --cfg-options student.oof=OTHER/oof.csv name=again
    python m11.py CONFIG --cfg-options student.distillation=views   the teacher's label for just the part that is seen
    python m11.py CONFIG --cfg-options student.distillation=none    labels alone, no teacher needed
    python m11.py CONFIG --cfg-options student.control=True         beside it the same student on hard labels, to compare
    python m11.py configs/clothing_patient.py      teachers in the loop
    torchrun --nproc_per_node=4 m11.py CONFIG      several GPUs

Reads runs/<name>/oof.csv, which e4.py wrote. Leaves runs/<name>/student/{best,final_1..4,averaged}.pth; next comes
export_openvino.py. Interrupted? The same command goes on.
"""

import hashlib
from dataclasses import replace

import numpy as np

from data.targets import blend_targets, harden, one_hot, read_oof, smooth
from recipe import training
from recipe.likeness import likeness, teacher_of
from recipe.pictures import open_data, preprocessing_of, student_split, with_parts
from recipe.saved_model import load_model, new_model
from recipe.stored_views import open_stored_views
from utils import distributed, session
from utils.metrics import accuracy, draw_confusion_matrix
from utils.runlog import format_table, log


def main(argv=None):
    args = session.argument_parser(__doc__).parse_args(argv)
    run = with_parts(session.start(args.config, args.cfg_options))
    section = run.config.student
    training.check_section(run, section)

    dataset, validation = open_data(run, preprocessing_of(section))
    rows, held_out = student_split(run, dataset, validation)
    teachers, teacher_hashes = training.load_teachers(run, section, dataset)
    targets = soft_targets(run, dataset)
    stored = open_stored_views(run, dataset, rows, held_out, targets)
    job = training.Training(run, section, dataset, run.folder.student, held_out.name, teachers, stored)
    train_student(job, "student", rows, held_out, targets, teacher_hashes)
    if section.control:
        job = replace(job, folder=run.folder.control, teachers=(), stored=None)
        train_student(job, "control", rows, held_out, hard_targets(run, dataset), [])
    report(job, held_out)


def train_student(job, stage, rows, held_out, targets, teacher_hashes):
    """From the claimed folder to the averaged checkpoint; what is there already is gone on with."""
    run, section, dataset = job.run, job.section, job.dataset
    views = {"views": job.stored.digest} if job.stored else {}
    settings = training.settings(
        run, section, dataset, **views,
        held_out=held_out.dataset.fingerprint, held_out_format=held_out.dataset.cache_format,
        targets=hashlib.sha256(targets.tobytes()).hexdigest(), teachers=teacher_hashes,
    )  # fmt: skip
    training.claim(run, stage, settings)
    model = new_model(run, section, len(dataset.classes))
    if section.head_epochs:
        training.train_head(job, model, rows, targets, run.folder.student.features)
    batches = training.train_batches(job, rows, targets)
    training.train_model(job, model, batches, training.evaluator(job, held_out))

    if section.final_epochs:
        everything = training.train_batches(job, np.arange(len(dataset)), targets, final=True)
        training.train_final_epochs(job.judged_by(held_out.describe(seen=True)), everything)


def hard_targets(run, dataset):
    """(N, K): the labels as they are, smoothed if asked for."""
    return smooth(one_hot(dataset.labels, len(dataset.classes)), run.config.student.label_smoothing)


def soft_targets(run, dataset):
    """(N, K): hard labels, smoothed if asked for, blended with the teacher's out-of-fold predictions."""
    section = run.config.student
    if not section.teacher_weight or section.distillation not in ("oof", "both"):
        return hard_targets(run, dataset)
    teacher = read_oof(section.oof or run.folder.oof, dataset)
    return blend_targets(hard_targets(run, dataset), harden(teacher) if section.hard_oof else teacher, section.teacher_weight)


def report(job, held_out):
    """Measure what lies on disk, not what is in memory, and say where it is."""
    student, control = job.run.folder.student, job.run.folder.control
    rows, results, teacher = [], {}, teacher_of(job.run, held_out)
    files = {"best": student.best, "averaged": student.averaged}
    if job.section.control:
        files |= {"control_best": control.best, "control_averaged": control.averaged}
    for name, path in files.items():
        if path.is_file():
            saved = load_model(path, job.device)
            probs = training.predict_rows(job, saved.model, held_out.dataset, held_out.rows)
            reached = {"accuracy": accuracy(probs, held_out.labels), **likeness(teacher, probs)}
            results |= {f"{name}_{key}": value for key, value in reached.items()} | {f"{name}_on": saved.meta["measured_on"]}
            figures = [f"{value:.4f}" for value in reached.values()]
            rows.append((name.replace("_", ", "), *figures, saved.meta["measured_on"], str(path)))
            if path.parent == student.path:
                last = probs
    if distributed.is_main():
        job.run.folder.save_results("student", results)
        draw_confusion_matrix(student.confusion, last, held_out.labels, saved.classes)
        columns = ("accuracy",) if teacher is None else ("accuracy", "as the teacher", "KL from it")
        log.info(format_table(rows, ("student", *columns, "on", "where")))


if __name__ == "__main__":
    session.run_script(main)
