"""What do soft labels bring, and what where labels are wrong? Moves some labels, and none of the validation pictures'.

    python benchmarks/noise.py configs/studies/noise.py
    python benchmarks/noise.py configs/studies/noise.py --shares 0.2 --shard 0/2 --cfg-options num_threads=1
    python benchmarks/noise.py configs/studies/soft_labels.py --shares 0          with the labels as they are
    python benchmarks/noise.py CONFIG --report

For each share it writes a table of corrections (data.corrections) that makes labels wrong, runs the config's study with it through
ablate.py, which trains the teacher on the same wrong labels, and compares every kind of student with the first one on the same
pictures and seeds. Interrupted? The same command goes on.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import torch

import ablate
from common.errors import UserError
from common.files import sha256, write_csv
from data.index import list_images
from data.targets import read_oof
from recipe.ablation import Workplace, parse_axis, plan
from recipe.judging import right_answers
from recipe.pictures import open_data, preprocessing_of
from recipe.trial_table import as_points
from utils import session
from utils.config import load_config
from utils.metrics import interval_of_difference
from utils.run_folder import RunFolder
from utils.runlog import format_table

SEED = 42  # of the moved labels, whatever the trainings' seeds


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file with a study; its first choice is what the others are compared with")
    parser.add_argument("--shares", type=share_of_labels, nargs="+", default=[0.1, 0.2, 0.4], help="of labels that are moved")
    parser.add_argument("--seeds", type=int, help="how many students of each kind (default: the study's)")
    parser.add_argument("--shard", metavar="I/N", help="train every N-th student, as ablate.py")
    parser.add_argument("--report", action="store_true", help="train nothing, tabulate what is there")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/<name>/noise")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes for all")
    args = parser.parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    if config.data.val_root is None:
        raise UserError("data.val_root: a folder of validation pictures is needed, whose labels stay right.")
    output, seeds, rows = args.output or config.folder / "noise", args.seeds or config.study.seeds, []
    axes = [parse_axis(text) for text in config.study.axes]
    for share in args.shares:
        place = output / f"{100 * share:g}_percent"
        moved = move_labels(Path(config.data.root), share)
        options = list(args.cfg_options)
        if share:
            write_csv(place / "moved.csv", moved)
            options.append(f"data.corrections={place / 'moved.csv'}")
        how = ["--no-speed"] + (["--report"] if args.report else ["--shard", args.shard] if args.shard else [])
        ablate.main([args.config, "--seeds", str(seeds), "--output", str(place / "ablation"), *how, "--cfg-options", *options])
        workplace = Workplace(place / "ablation", args.config, options)
        found = compared(workplace, plan(axes, [config.seed + i for i in range(seeds)]), share, moved)
        write_csv(place / "noise.csv", pd.DataFrame(found))
        rows += found
    if rows:
        table = pd.DataFrame(rows)
        print(format_table(table.astype(str).values.tolist(), list(table.columns)))


def share_of_labels(text):
    if not 0 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: takes a share from 0 to below 1, such as 0.2")
    return float(text)


def move_labels(root, share):
    """A table of corrections that gives `share` of the pictures below `root` another class: path, label, and the true class."""
    classes, table = list_images(root)
    labels, contents = table["label"].to_numpy(object), [sha256(root / path) for path in table["path"]]
    rng, distinct = np.random.default_rng([SEED, round(1000 * share)]), sorted(set(contents))  # copies of a picture move together
    others = {label: [other for other in classes if other != label] for label in classes}
    label_of = dict(zip(contents, labels, strict=True))
    picked = rng.permutation(len(distinct))[: round(share * len(distinct))]
    target = {distinct[i]: str(rng.choice(others[label_of[distinct[i]]])) for i in np.sort(picked)}
    given = np.array([target.get(content, label) for content, label in zip(contents, labels, strict=True)], object)
    return table.assign(label=given, true=labels).loc[given != labels, ["path", "label", "true"]].reset_index(drop=True)


def compared(workplace, trials, share, moved):
    """`compare_students` with the share of labels that were moved, and how many of these the teacher doubts."""
    found = _found(workplace, moved)
    return [{"moved": f"{share:.0%}", **row, "wrong labels doubted": found} for row in compare_students(workplace, trials)]


def compare_students(workplace, trials):
    """One row for each kind of student that is trained with all seeds: accuracy, and how far it is ahead of the first kind.

    "only it, only the first": answers that the one got right and the other wrong, of all seeds together.
    """
    kinds = {}
    for trial in trials:
        if workplace.is_finished(trial):
            kinds.setdefault(" ".join(trial.options), {})[trial.seed] = right_answers(workplace, trial)
    seeds = {trial.seed for trial in trials}
    kinds = {kind: pd.concat(right, names=["seed", "path"]) for kind, right in kinds.items() if right.keys() == seeds}
    first, rows = kinds.get(" ".join(trials[0].options)), []
    for kind, right in kinds.items() if first is not None else ():
        rows.append(
            {
                "student": kind, "accuracy": f"{right.mean():.4f}",
                "seeds": " ".join(f"{accuracy:.4f}" for accuracy in right.groupby("seed").mean()),
                "points ahead (95 %)": as_points(*interval_of_difference(right, first)),
                "only it, only the first": f"{(right & ~first).sum()}, {(first & ~right).sum()}",
            }
        )  # fmt: skip
    return rows


def _found(workplace, moved):
    """'N of M, K doubted': how many of the moved labels the teacher doubts, and how many it doubts at all."""
    for place in sorted((workplace.folder / "teachers").glob("*")):
        folder = RunFolder(place)
        if folder.oof.is_file():
            run = session.Session(load_config(place / "trial.py"), folder, torch.device("cpu"))
            dataset, _ = open_data(run, preprocessing_of(run.config.teacher))
            doubted = read_oof(folder.oof, dataset).argmax(1) != dataset.labels
            wrong = dataset.table["path"].isin(moved["path"]).to_numpy()
            return f"{(doubted & wrong).sum()} of {wrong.sum()}, {doubted.sum()} doubted"
    return ""


if __name__ == "__main__":
    session.run_script(main, starts_others=True)
