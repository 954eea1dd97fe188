"""Ablation: train every combination of some settings, over several seeds, and tabulate what each reaches.

    python ablate.py configs/demo.py --axis student.mixing=cutmix,mixup,none --seeds 3
    python ablate.py CONFIG --axis student.lr=1e-3,5e-4 --axis "student.resize=128 student.image_size=112 | student.image_size=224"
    python ablate.py configs/studies/one_change.py                a ready-made study: its axes stand in the config
    python ablate.py CONFIG --axis ... --budget 20                as many epochs as fit into 20 minutes, for each setting
    CUDA_VISIBLE_DEVICES=1 python ablate.py CONFIG --axis ... --shard 1/4     the second of four processes or machines
    python ablate.py CONFIG --axis ... --report                   train nothing, tabulate what is there

An axis tries the values of a key, or (with |) settings of several keys together. Teachers are trained once for all students
that learn from them; the config's own is taken where it was made with the same settings. Interrupted? The same command goes on.
Leaves trials.csv, table.md and chart.png in runs/<name>/ablation or --output, beside all trained runs, each with its whole
config in trial.py, and writes nothing into runs/<name> otherwise.
"""

import argparse

import pandas as pd

from common.errors import UserError
from common.files import write_csv
from recipe.ablation import Workplace, draw, parse_axis, plan, run_trials, summarise, write_markdown
from utils.config import load_config
from utils.runlog import format_table, log, start_logging
from utils.session import run_script


def main(argv=None):
    args = parse(argv)
    config = load_config(args.config, args.cfg_options)
    axes = [parse_axis(text) for text in args.axis or config.study.axes]
    if not axes:
        raise UserError(f"{args.config}: nothing to vary. Give --axis KEY=VALUE,VALUE, or a config with study = dict(axes=[...]).")
    trials = plan(axes, [config.seed + i for i in range(args.seeds or config.study.seeds)])
    workplace = Workplace(args.output or config.folder / "ablation", args.config, args.cfg_options)
    workplace.check(trials)
    start_logging(workplace.folder)

    shard, num_shards = args.shard
    failures = [] if args.report else run_trials(workplace, trials[shard::num_shards], args.budget)
    report(workplace, trials, args)
    if failures:
        raise UserError(f"{len(failures)} of {len(trials)} trials failed; the first: {failures[0]}")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("--axis", action="append", metavar="KEY=A,B,...", help="what to vary; several axes are combined")
    parser.add_argument("--seeds", type=int, help="how many, from the config's on (default: 3, or the study's)")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="fit the student's epochs to this time")
    parser.add_argument(
        "--shard", type=_shard, default=(0, 1), metavar="I/N", help="train every N-th trial, from number I (0..N-1)"
    )
    parser.add_argument("--report", action="store_true", help="tabulate the trials that are there")
    parser.add_argument("--output", metavar="FOLDER", help="default: runs/<name>/ablation")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes that hold for all trials"
    )
    args = parser.parse_args(argv)
    if (args.seeds is not None and args.seeds < 1) or (args.budget is not None and not 0 < args.budget < float("inf")):
        parser.error("--seeds takes a whole number from 1, --budget minutes above 0")
    return args


def _shard(text):
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"'{text}': takes I/N with I from 0 to N-1, such as 1/4")
    return int(number), int(count)


def report(workplace, trials, args):
    """trials.csv, table.md and chart.png of all trials that are finished, whichever process trained them."""
    finished = [trial for trial in trials if workplace.is_finished(trial)]
    if not finished:
        log.info("no trial is finished yet")
        return
    rows = pd.DataFrame([workplace.row(trial, args.budget) for trial in finished])
    table = summarise(rows)
    write_csv(workplace.folder / "trials.csv", rows)
    note = f"{len(finished)} of {len(trials)} trials of `{args.config}`; validation accuracy, mean ± standard deviation over seeds."
    write_markdown(workplace.folder / "table.md", table, note)
    draw(workplace.folder / "chart.png", rows, table)
    cells = [[*map(str, row[:-4]), f"{row[-4]:.4f}", f"{row[-3]:.4f}", str(row[-2]), f"{row[-1]:.1f}"] for row in table.to_numpy()]
    log.info("\n" + format_table(cells, list(table.columns)))
    log.info(f"-> {workplace.folder}/trials.csv, table.md, chart.png")


if __name__ == "__main__":
    run_script(main)
