"""How long the C++ program takes to its first answer: CPU time of a process that classifies one picture and ends.

    make cpp && python export_openvino.py runs/mine --int8 && python benchmarks/start.py runs/mine

With the compiled network of an earlier start in the cache, and without; medians of processes that take turns.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.cpp_program import add_classify, check_built
from recipe.pictures import held_out_files
from recipe.predictor import check_exported
from utils import session
from utils.runlog import format_table


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="the run's folder, exported with --int8")
    add_classify(parser)
    parser.add_argument("--rounds", type=int, default=10, help="processes of each kind (default: %(default)s)")
    args = parser.parse_args(argv)
    check_built(args.classify)
    run = session.reopen(args.run_dir)
    picture, exported = held_out_files(run)[0][0], run.folder.exported
    networks = {"FP32": exported.network, "INT8": exported.network_int8}
    with tempfile.TemporaryDirectory() as cache:
        commands = {("--help", ""): ["--help"]}
        for name, path in networks.items():
            check_exported(run.folder, path)
            for how, folder in (("compiled anew", ""), ("from the cache", cache)):
                commands[name, how] = ["--model", path, "--cache", folder, picture]
        times = {key: [] for key in commands}
        for i in range(args.rounds + 1):
            for key, command in commands.items():
                spent = cpu_ms([args.classify, *command])
                if i:  # the first round fills the cache
                    times[key].append(spent)
    anew = {name: float(np.median(times[name, "compiled anew"])) for name in networks}
    rows = [
        (name, how, f"{np.median(ms):.0f}", f"{anew[name] / np.median(ms):.2f}" if name in anew else "")
        for (name, how), ms in times.items()
    ]
    print(format_table(rows, ("one picture", "network", "CPU ms", "times as early")))


def cpu_ms(command):
    """Milliseconds of CPU time, user and system, of all threads of a command."""
    before = spent_by_children()
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
    return 1e3 * (spent_by_children() - before)


def spent_by_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    session.run_script(main)
