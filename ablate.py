"""Ablation: train every combination of some settings, over several seeds, and tabulate what each reaches and how fast it is.

    python ablate.py configs/demo.py --axis student.mixing=cutmix,mixup,none --seeds 3
    python ablate.py CONFIG --axis student.lr=1e-3,5e-4 --axis "student.resize=128 student.image_size=112 | student.image_size=224"
    python ablate.py configs/studies/one_change.py                a ready-made study: its axes stand in the config
    python ablate.py CONFIG --axis ... --budget 20                as many epochs as fit into 20 minutes, for each setting
    CUDA_VISIBLE_DEVICES=1 python ablate.py CONFIG --axis ... --shard 1/4     the second of four processes or machines
    python ablate.py CONFIG --axis ... --report                   train nothing, tabulate what is there, measure its speed again
    python ablate.py CONFIG --axis ... --ray                      trials and teachers as tasks on a Ray cluster
    python ablate.py CONFIG --search student.lr=1e-4..1e-2:log --search student.backbone=mobilenet_v3_small,ghostnet_100 \\
        --trials 24 --budget 5                                    let Optuna choose what to try next

An axis tries the values of a key, or (with |) settings of several keys together. A search draws from ranges and such choices,
and stops trials early that are behind; start the same command in several terminals, and they share it. Teachers are trained once
for all students that learn from them; the config's own is taken where it was made with the same settings. Interrupted? The same
command goes on.
Leaves trials.csv, table.csv, table.md, chart.png and choice.png in runs/<name>/ablation or --output, beside all trained runs, each
with its whole config in trial.py and its exported network, and writes nothing into runs/<name> otherwise. Tables of a part of what
those there tell, such as one pair's, go into parts/.
"""

import argparse
import shlex
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.errors import UserError
from common.files import write_csv
from recipe import cluster
from recipe.ablation import FP32, INT8, Trial, Workplace, parse_axis, plan, run_trials
from recipe.judging import judge, measure
from recipe.search import Search, parse_parameter
from recipe.trial_table import as_texts, draw, draw_choice, place_for, summarise, write_markdown
from utils.config import load_config
from utils.runlog import format_table, log, start_logging
from utils.session import positive, run_script

TRIALS = 24  # that a search makes
BEST = 3  # settings of a search that are worth more seeds


def main(argv=None):
    args = parse(argv)
    config = load_config(args.config, args.cfg_options)
    folder = Path(args.output or config.folder / "ablation")
    wanted = (searched if args.search else studied)(config, args)
    networks = [] if args.no_speed else [FP32, INT8] if args.int8 else [FP32]
    start_logging(folder)
    with cluster.connected(args, folder) if args.ray and not args.report else nullcontext() as nodes:
        workplace = Workplace(folder, args.config, nodes.options(args.cfg_options, config) if nodes else args.cfg_options)
        came = (search if args.search else study)(workplace, wanted, networks, args, nodes)
    if came.trials:
        report(workplace, came, networks, args)
    else:
        log.info("no trial is finished yet")
    if came.failures:
        raise UserError(f"{len(came.failures)} trials failed; the first: {came.failures[0]}")


@dataclass(frozen=True)
class Outcome:
    """What came of a study or a search."""

    failures: list[UserError]
    trials: list[Trial]  # those that are finished
    is_whole: bool  # is no other process at work on some?
    note: str
    best: tuple[Trial, ...] = ()  # of a search, by its goal


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("--axis", action="append", metavar="KEY=A,B,...", help="what to vary; several axes are combined")
    parser.add_argument("--seeds", type=positive, help="how many, from the config's on (default: 3, or the study's)")
    parser.add_argument(
        "--search", action="append", metavar="KEY=LOW..HIGH[:log]", help="what to search: a range, or choices as of an axis"
    )
    parser.add_argument("--trials", type=positive, help=f"different settings that a search tries (default: {TRIALS})")
    parser.add_argument("--goal", choices=["accuracy", "score"], help="of a search (default: accuracy)")
    parser.add_argument("--budget", type=_minutes, metavar="MINUTES", help="fit the student's epochs to this time")
    parser.add_argument("--shard", type=_shard, metavar="I/N", help="train every N-th trial, from number I (0..N-1)")
    parser.add_argument("--report", action="store_true", help="tabulate the trials that are there")
    parser.add_argument("--int8", action="store_true", help="INT8 networks too, where they lose little accuracy")
    parser.add_argument("--no-speed", action="store_true", help="export and measure nothing")
    parser.add_argument(
        "--target", type=float, default=162.5, metavar="FPS", help="full marks for speed in the score (default: %(default)s)"
    )
    parser.add_argument("--output", metavar="FOLDER", help="default: runs/<name>/ablation")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes that hold for all trials"
    )
    cluster.add_arguments(parser)
    args = parser.parse_args(argv)
    cluster.check_arguments(parser, args)
    if args.ray and args.shard:
        parser.error("--ray gives out the trials itself: it goes without --shard")
    if args.int8 and args.no_speed:
        parser.error("--int8 is of the exported networks: it goes without --no-speed")
    if args.search and (args.axis or args.seeds or args.shard):
        parser.error("--search goes without --axis, --seeds and --shard; to share it, start the same command several times")
    if not args.search and (args.trials or args.goal):
        parser.error("--trials and --goal are of a --search")
    if not args.target > 0:
        parser.error("--target takes pictures a second, above 0")
    return args


def _minutes(text):
    minutes = float(text)
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: takes minutes above 0")
    return minutes


def _shard(text):
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"'{text}': takes I/N with I from 0 to N-1, such as 1/4")
    return int(number), int(count)


def studied(config, args):
    """The `Trial`s of a study: every combination of the axes."""
    axes = [parse_axis(text) for text in args.axis or config.study.axes]
    if not axes:
        raise UserError(f"{args.config}: nothing to vary. Give --axis KEY=VALUE,VALUE, or a config with study = dict(axes=[...]).")
    return plan(axes, [config.seed + i for i in range(args.seeds or config.study.seeds)])


def study(workplace, trials, networks, args, nodes):
    """The `trials`, trained."""
    workplace.check(trials, args.budget)
    number, count = args.shard or (0, 1)
    failures = [] if args.report else run_trials(workplace, trials[number::count], args.budget, networks, nodes)
    finished = [trial for trial in trials if workplace.is_finished(trial)]
    is_whole = args.shard is None or len(finished) == len(trials)  # else other shards are at work, and speed would be theirs too
    return Outcome(failures, finished, is_whole, f"{len(finished)} of {len(trials)} trials of `{args.config}`")


def searched(config, args):
    """(the `Parameter`s of a search, its seed)."""
    load = lambda options: load_config(args.config, [*args.cfg_options, *options])  # noqa: E731
    return [parse_parameter(text, load) for text in args.search], config.seed


def search(workplace, space, networks, args, nodes):
    """What Optuna drew from the `space`, (parameters, seed), trained."""
    workplace.check([Trial((choice,), space[1]) for parameter in space[0] for choice in parameter.extremes], args.budget)
    made = Search(workplace, *space, budget=args.budget, goal=args.goal or "accuracy", target=args.target)
    run = partial(made.run_on, nodes) if nodes else made.run
    failures = [] if args.report else run(args.trials or TRIALS, networks)
    write_csv(workplace.folder / "search.csv", made.table())
    note = f"search of `{args.config}`: {made.describe()}"
    return Outcome(failures, made.trials(), not made.is_under_way(), note, tuple(made.best(BEST)))


def report(workplace, came, networks, args):
    """Table and charts of the trials that are finished, whichever process trained them; networks: kinds whose speed is measured."""
    rows, right = judge(workplace, came.trials, args.budget, networks)
    speeds = speeds_of(workplace, came, networks, args)
    table = summarise(rows, right, speeds, args.target)
    place = place_for(workplace.folder, rows, table)
    if place != workplace.folder:
        log.info(f"{workplace.folder}: its table.csv says more than this command's, so it is kept; delete it to have it replaced")
    write_csv(place / "trials.csv", rows)
    write_csv(place / "table.csv", table)
    write_markdown(place / "table.md", table, f"{came.note}; validation accuracy, mean ± standard deviation over seeds.")
    draw(place / "chart.png", rows, table)
    if speeds is not None:
        write_csv(place / "speed.csv", speeds.reset_index())
        draw_choice(place / "choice.png", table)
    header, texts = as_texts(table)
    charts = "chart.png" + ", choice.png" * (speeds is not None)
    log.info(f"\n{came.note}\n{format_table(texts, header)}\n-> {place}: trials.csv, table.csv, table.md, {charts}")
    if len(came.best) > 1:
        log.info(f"the best, with three seeds: {again_with_seeds(workplace, came.best, args)}")


def speeds_of(workplace, came, networks, args):
    """See `recipe.judging.measure`; None where nothing was to be measured, or could not be, which is said."""
    if networks and not (came.is_whole or args.report):
        log.info("speeds are not measured while other trials of this are missing; with --report they are")
    elif networks:
        speeds = measure(workplace, came.trials, networks)
        if speeds is None:
            how = "; the same command without --report exports them" * args.report
            log.info(f"none of these trials is exported, so none is timed{how}")
        return speeds
    return None


def again_with_seeds(workplace, trials, args):
    """The command that trains the settings of the `trials` with three seeds."""
    axis = " | ".join(shlex.join(trial.options) for trial in trials)
    command = ["python", "ablate.py", args.config, "--seeds", "3", "--axis", axis, "--output", str(workplace.folder)]
    command += ["--budget", f"{args.budget:g}"] if args.budget else []
    command += ["--target", f"{args.target:g}"] if args.goal == "score" else []
    command += ["--int8"] if args.int8 else ["--no-speed"] if args.no_speed else []
    return shlex.join([*command, *(["--cfg-options", *args.cfg_options] if args.cfg_options else [])])


if __name__ == "__main__":
    run_script(main, starts_others=True)
