"""Teacher: EfficientNet over stratified folds; what each fold's model says of the pictures it never saw are the soft labels.

    python e4.py                                   the contest platform (configs/jishi.py)
    python e4.py configs/demo.py                   embedded data, minutes on two cores
    python e4.py configs/clothing.py --cfg-options data.root=PICTURES seed=1
    torchrun --nproc_per_node=4 e4.py CONFIG       several GPUs
    python e4.py CONFIG --fold 3                   one fold, for any scheduler; when all are there:
    python e4.py CONFIG --merge                    the table from the folds

Leaves runs/<name>/teacher/fold*/best.pth and runs/<name>/oof.csv, which m11.py reads. Interrupted? The same command goes on.
"""

import numpy as np

from common.errors import UserError
from data.folds import assign_folds, write_folds
from data.targets import merge_oof, one_hot, read_oof, smooth, write_oof
from recipe import steps
from utils import distributed, session
from utils.metrics import accuracy
from utils.runlog import check_same_settings, format_table, log, save_results


def main(argv=None):
    parser = session.argument_parser(__doc__)
    parser.add_argument("--fold", type=int, help="train this fold only")
    parser.add_argument("--merge", action="store_true", help="train nothing; build oof.csv from the folds that were trained")
    run = session.start(parser, argv)
    train, folder = run.config.teacher, run.folder / "teacher"

    dataset, validation = steps.open_data(run, train)
    folds = assign_folds(dataset.table, train.num_folds, run.config.seed)
    if run.args.fold is not None and not 0 <= run.args.fold < train.num_folds:
        raise UserError(f"--fold {run.args.fold}: the folds are 0 to {train.num_folds - 1}.")
    distributed.main_first(lambda: check_same_settings(folder, steps.training_settings(run, train, dataset)))
    if distributed.is_main():
        write_folds(run.folder / "folds.csv", dataset.table, folds)

    for fold in range(train.num_folds):
        if not run.args.merge and run.args.fold in (None, fold) and not (folder / f"fold{fold}" / "oof.csv").is_file():
            train_fold(run, dataset, validation, folds, fold)
    if run.args.fold is None:
        merge(run, dataset, validation, folds)


def train_fold(run, dataset, validation, folds, fold):
    """Train on all folds but one; its best checkpoint predicts that one, and the validation pictures where there are any."""
    train, folder = run.config.teacher, run.folder / "teacher" / f"fold{fold}"
    held_out, rows = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
    targets = smooth(one_hot(dataset.labels, len(dataset.classes)), train.label_smoothing)
    model = steps.new_model(run, train, len(dataset.classes))
    if train.head_epochs:
        features = steps.frozen_features(run, train, model, dataset, run.folder / "teacher" / "features.npy")
        steps.train_head(run, train, model, features, rows, targets, folder)
    batches = steps.make_train_batches(run, train, dataset, rows, targets)
    evaluate = steps.evaluator(run, train, dataset, held_out)
    steps.train_model(run, train, model, batches, evaluate, folder, steps.checkpoint_meta(train, dataset))

    model, _ = steps.load_model(folder / "best.pth", run.device)
    probs = steps.predict_rows(run, train, model, dataset, held_out)
    if validation is not None:
        val_probs = steps.predict_rows(run, train, model, validation, np.arange(len(validation)))
        if distributed.is_main():
            write_oof(folder / "validation.csv", validation, np.full(len(validation), fold), val_probs)
    if distributed.is_main():
        write_oof(folder / "oof.csv", dataset, folds, probs, rows=held_out)
    distributed.barrier()
    log.info(f"fold {fold}: held-out accuracy {accuracy(probs, dataset.labels[held_out]):.4f} (best checkpoint)")


def merge(run, dataset, validation, folds):
    """Join the folds' predictions to oof.csv and say what was achieved."""
    folder, num_folds = run.folder / "teacher", run.config.teacher.num_folds
    if not distributed.is_main():
        return
    probs = merge_oof([folder / f"fold{k}" / "oof.csv" for k in range(num_folds)], run.folder / "oof.csv", dataset)
    by_fold = [accuracy(probs[folds == k], dataset.labels[folds == k]) for k in range(num_folds)]
    results = {"oof_accuracy": accuracy(probs, dataset.labels), "fold_accuracy": by_fold}
    rows = [("OOF", f"{results['oof_accuracy']:.4f}", run.folder / "oof.csv")]
    if validation is not None:
        votes = [read_oof(folder / f"fold{k}" / "validation.csv", validation) for k in range(num_folds)]
        results["val_accuracy"] = accuracy(np.mean(votes, axis=0), validation.labels)
        rows.append(
            (f"validation, mean of {num_folds} models", f"{results['val_accuracy']:.4f}", folder / "fold*" / "validation.csv")
        )
    save_results(run.folder, "teacher", results)
    log.info(format_table([(*map(str, row),) for row in rows], ("teacher", "accuracy", "where")))


if __name__ == "__main__":
    session.run_script(main)
