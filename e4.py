"""Teacher: EfficientNet over stratified folds; what each fold's model says of the pictures it never saw are the soft labels.

    python e4.py                                   the contest platform (configs/jishi.py)
    python e4.py configs/demo.py                   embedded data, minutes on two cores
    python e4.py configs/clothing.py --cfg-options data.root=PICTURES seed=1
    torchrun --nproc_per_node=4 e4.py CONFIG       several GPUs
    python e4.py CONFIG --fold 3                   one fold, for any scheduler; when all are there:
    python e4.py CONFIG --merge                    the table from the folds
    python e4.py CONFIG --ray                      each fold a task on a Ray cluster (docs/scaling.md)

Leaves runs/<name>/teacher/fold*/best.pth and runs/<name>/oof.csv, which m11.py reads. Interrupted? The same command goes on.
"""

from dataclasses import replace

import numpy as np

from common.errors import UserError
from data.folds import assign_folds, write_folds
from data.targets import is_of, merge_oof, one_hot, read_oof, smooth, write_oof
from recipe import cluster, training
from recipe.labels import judge_labels, label_rows
from recipe.pictures import HeldOut, open_data, preprocessing_of, with_parts
from recipe.saved_model import load_model, new_model
from utils import distributed, session
from utils.metrics import accuracy
from utils.runlog import format_table, log


def main(argv=None):
    args = parse(argv)
    run = with_parts(session.start(args.config, args.cfg_options))
    section = run.config.teacher
    if args.fold is not None and not 0 <= args.fold < section.num_folds:
        raise UserError(f"--fold {args.fold}: the folds are 0 to {section.num_folds - 1}.")
    training.check_section(run, section)

    dataset, validation = open_data(run, preprocessing_of(section))
    folds = assign_folds(dataset.table, section.num_folds, run.config.seed)
    settings = training.settings(run, section, dataset)
    training.claim(run, "teacher", settings)
    if distributed.is_main():
        write_folds(run.folder.folds, dataset.table, folds)

    if args.ray:
        train_on_cluster(run, args)
    job = training.Training(run, section, dataset, run.folder.teacher, "held-out fold")
    for fold in range(section.num_folds):
        if args.fold in (None, fold):
            if not (args.merge or args.ray):
                train_fold(replace(job, folder=run.folder.fold(fold)), folds, fold)
            judge_validation(replace(job, folder=run.folder.fold(fold)), validation, fold)
    if args.fold is None:
        merge(job, validation, folds)


def parse(argv):
    parser = session.argument_parser(__doc__)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--fold", type=int, metavar="K", help="train this fold only")
    only.add_argument("--merge", action="store_true", help="train nothing; build oof.csv from the folds that were trained")
    cluster.add_arguments(parser)
    args = parser.parse_args(argv)
    cluster.check_arguments(parser, args)
    if args.ray and (args.fold is not None or args.merge):
        parser.error("--ray trains all folds and merges them: it goes without --fold and --merge")
    return args


def train_on_cluster(run, args):
    """Train the folds that are not trained yet, each by this script with --fold, wherever the cluster has room."""
    missing = [k for k in range(run.config.teacher.num_folds) if not run.folder.fold(k).oof.is_file()]
    if not missing:
        return
    with cluster.connected(args, run.folder.path) as nodes:
        options = nodes.options(args.cfg_options, run.config)
        nodes.run_all([cluster.script_task(f"fold {k}", run.folder, options, "e4.py", args.config, "--fold", k) for k in missing])


def train_fold(job, folds, fold):
    """Train on all folds but one, unless that is done; its best checkpoint predicts that one."""
    dataset, folder = job.dataset, job.folder
    if folder.oof.is_file():
        return
    rows, held_out = np.flatnonzero(folds != fold), HeldOut(dataset, np.flatnonzero(folds == fold), "held-out fold")
    targets = smooth(one_hot(dataset.labels, len(dataset.classes)), job.section.label_smoothing)
    model, features_path = new_model(job.run, job.section, len(dataset.classes)), job.run.folder.teacher.features
    if job.section.head_epochs:
        training.train_head(job, model, rows, targets, features_path)
    batches = training.train_batches(job, rows, targets)
    training.train_model(job, model, batches, training.evaluator(job, held_out, features_path))

    best = load_model(folder.best, job.device).model
    probs = training.predict_rows(job, best, dataset, held_out.rows, features_path)
    if distributed.is_main():
        write_oof(folder.oof, dataset, folds, probs, rows=held_out.rows, settings=job.digest)
    distributed.barrier()
    log.info(f"fold {fold}: held-out accuracy {accuracy(probs, held_out.labels):.4f} (best checkpoint)")


def judge_validation(job, validation, fold):
    """What the model of a trained fold says of the validation pictures, unless it was asked about just these."""
    folder = job.folder
    if validation is None or not folder.oof.is_file() or distributed.said_by_main(is_of(folder.validation, validation)):
        return
    model = load_model(folder.best, job.device).model
    features_path = job.run.folder.teacher.validation_features
    probs = training.predict_rows(job, model, validation, np.arange(len(validation)), features_path)
    if distributed.is_main():
        write_oof(folder.validation, validation, np.full(len(validation), fold), probs)


def merge(job, validation, folds):
    """Join the folds' predictions to oof.csv and say what was achieved."""
    if not distributed.is_main():
        return
    dataset, folder, num_folds = job.dataset, job.run.folder, job.section.num_folds
    probs = merge_oof([folder.fold(k).oof for k in range(num_folds)], folder.oof, dataset)
    by_fold = [accuracy(probs[folds == k], dataset.labels[folds == k]) for k in range(num_folds)]
    results = {"oof_accuracy": accuracy(probs, dataset.labels), "fold_accuracy": by_fold, **judge_labels(job.run, dataset, probs)}
    rows = [("OOF", f"{results['oof_accuracy']:.4f}", str(folder.oof))]
    if "true_accuracy" in results:
        rows.append(("OOF, against the true labels", f"{results['true_accuracy']:.4f}", str(folder.oof)))
    if validation is not None:
        votes = [read_oof(folder.fold(k).validation, validation) for k in range(num_folds)]
        results["val_accuracy"] = accuracy(np.mean(votes, axis=0), validation.labels)
        where = str(folder.teacher.path / "fold*" / "validation.csv")
        rows.append((f"validation, mean of {num_folds} models", f"{results['val_accuracy']:.4f}", where))
    folder.save_results("teacher", results)
    log.info(format_table(rows, ("teacher", "accuracy", "where")))
    log.info("\n".join(f"{what}: {number}" for what, number in label_rows(results)))


if __name__ == "__main__":
    session.run_script(main)
