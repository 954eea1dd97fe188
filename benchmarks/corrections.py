"""How many wrong labels does the report find, and what does the student gain once they are corrected?

    python benchmarks/corrections.py configs/demo.py                                  whose wrong labels are known
    python benchmarks/corrections.py configs/studies/noise.py --share 0.1             a tenth of the labels moved

Trains a teacher on the wrong labels, takes the report's suspects from it, and trains students with three tables of corrections: as
the labels are (before); the suspects that the report calls sure with the class that it suggests, which nobody looked at (surest);
all suspects that are wrong indeed with their true class, as a careful person ticks them (checked). Interrupted? The same command
goes on.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd
import torch

import ablate
from benchmarks.noise import compare_students, move_labels, share_of_labels
from common.errors import UserError
from common.files import read_csv, write_csv
from data.targets import read_oof
from data.textiles import write_textiles
from recipe.ablation import Workplace, parse_axis, plan
from recipe.pictures import DRAWING_SEED, open_data, preprocessing_of
from reports.suspects import label_issues
from utils import session
from utils.config import load_config
from utils.runlog import format_table

TABLES = ("before.csv", "surest.csv", "checked.csv")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file with validation pictures")
    parser.add_argument(
        "--share", type=share_of_labels, default=0.1, help="of labels that are moved, where no wrong ones are known"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many students of each kind (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/<name>/corrections")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes for all")
    args = parser.parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    if config.data.val_root is None:
        raise UserError("data.val_root: a folder of validation pictures is needed, whose labels are right.")
    output = (args.output or config.folder / "corrections").absolute()
    before = known_wrong(config) if config.data.draw_textiles else move_labels(Path(config.data.root), args.share)
    write_csv(output / TABLES[0], before)

    workplace = Workplace(output / "ablation", args.config, args.cfg_options)
    axis = " | ".join(f"data.corrections={output / name}" for name in TABLES)
    trials = plan([parse_axis(axis)], [config.seed + i for i in range(args.seeds)])
    found, *corrected = find_suspects(workplace, trials[0], before)
    for name, table in zip(TABLES[1:], corrected, strict=True):
        write_csv(output / name, table)
    print(f"\n{format_table(found, ('suspects', 'wrong labels found', 'recall', 'precision'))}\n")
    options = ["--no-speed", *(["--cfg-options", *args.cfg_options] if args.cfg_options else [])]
    ablate.main([args.config, "--axis", axis, "--seeds", str(args.seeds), "--output", str(output / "ablation"), *options])
    table = pd.DataFrame(compare_students(workplace, trials))
    table["student"] = [Path(kind).name for kind in table["student"]]
    print("\n" + format_table(table.astype(str).values.tolist(), list(table.columns)))


def known_wrong(config):
    """The wrong labels of the embedded pictures: path, label, and the true class. As corrections these change nothing."""
    root, part = Path(config.data.root).parent, f"{Path(config.data.root).name}/"
    write_textiles(root, num_train=config.data.draw_textiles, seed=DRAWING_SEED)
    truth = read_csv(root / "truth.csv", texts=("path", "label", "true_label")).rename(columns={"true_label": "true"})
    wrong = truth[truth["path"].str.startswith(part) & (truth["label"] != truth["true"])]
    return wrong.assign(path=wrong["path"].str.removeprefix(part)).reset_index(drop=True)


def find_suspects(workplace, trial, before):
    """What the report says of the wrong labels `before`: (how well it finds them, the surest corrected, all checked by a person).

    The first is rows of a table; the others are tables like `before`.
    """
    folder = workplace.teacher(trial, with_models=False)
    run = session.Session(load_config(folder.path / "trial.py"), folder, torch.device("cpu"))
    dataset, _ = open_data(run, preprocessing_of(run.config.teacher))
    truth = dict(zip(before["path"], before["true"], strict=True))
    suspects = label_issues(dataset.labels, read_oof(folder.oof, dataset))
    doubted = {dataset.paths[row]: dataset.classes[suggested] for row, suggested, _ in suspects}
    surest = {dataset.paths[row]: dataset.classes[suggested] for row, suggested, sure in suspects if sure}
    found = [_score(name, paths, truth) for name, paths in (("surest", surest), ("all doubted", doubted))]
    checked = {path: truth[path] for path in doubted if path in truth}
    return found, _corrected(before, surest), _corrected(before, checked)


def _score(name, paths, truth):
    right = sum(path in truth for path in paths)
    return name, f"{right} of {len(truth)}", f"{right / len(truth):.3f}", f"{right / max(len(paths), 1):.3f}"


def _corrected(before, labels):
    """`before` with other labels, and rows for the pictures that it lacks."""
    wanted = dict(zip(before["path"], before["label"], strict=True)) | labels
    table = pd.DataFrame({"path": [*wanted], "label": [*wanted.values()]})
    return table.merge(before[["path", "true"]], on="path", how="left")


if __name__ == "__main__":
    session.run_script(main, starts_others=True)
