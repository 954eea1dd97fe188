"""How every script begins and ends: arguments, configuration, device, run folder, and one clear message when something is wrong."""

import argparse
import dataclasses
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from common.errors import UserError, os_user_error
from common.memory import keep_freed_memory, usable_cpus, use_jemalloc_for_tables
from common.temporary import remove_leftovers
from utils import distributed
from utils.config import RunConfig, as_plain, expanded, load_config, load_resolved
from utils.run_folder import RunFolder
from utils.runlog import log, start_logging

PLACES = ("root", "val_root", "test_root", "table", "corrections", "unlabelled", "cache")  # keys of `data` that are paths


@dataclass(frozen=True)
class Session:
    config: RunConfig
    folder: RunFolder  # runs/<name>
    device: torch.device


def argument_parser(description):
    """The arguments that the training scripts share: a config file and changes to it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="configs/jishi.py", help="config file (default: %(default)s)")
    parser.add_argument("--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        help="change single values, such as student.lr=0.002 data.root=/my/pictures")  # fmt: skip
    return parser


def positive(text):
    """An argument that is a whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, 1 or more")
    return int(text)


def share(text):
    """An argument that is a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a number from 0 to 1")
    return number


def start(config_path, options):
    """Load the config, join the other processes if any, open the run folder and its log; `options`: KEY=VALUE texts."""
    config = _with_absolute_paths(load_config(config_path, options))
    keep_freed_memory()
    use_jemalloc_for_tables()
    device = distributed.start(pick_device(config.device))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # few shapes, each seen many times
        torch.set_float32_matmul_precision("high")
    if config.num_threads or not distributed.is_distributed():
        torch.set_num_threads(config.num_threads or usable_cpus())
    distributed.check_same(_deciding(config), "the settings", "Give all machines the same config file and the same options.")
    distributed.check_shared_folder(config.folder)
    start_logging(config.folder, distributed.is_main())
    if distributed.is_main():
        remove_leftovers(config.folder)
        if config.data.cache:
            remove_leftovers(config.data.cache, depth=1)
    for option in options:
        log.info(f"override: {option}")
    return Session(config, RunFolder(config.folder), device)


def reopen(folder, stages=("student",)):
    """The session of a run folder as the first of `stages` that is there was trained, on the CPU; for what uses what lies in it."""
    folder = RunFolder(Path(folder))
    configs = [folder.config(stage) for stage in stages]
    path = next((path for path in configs if path.is_file()), None)
    if path is None:
        script = "e4.py or m11.py" if "teacher" in stages else "m11.py"
        raise UserError(
            f"{folder.path}: not the folder of a run that {script} began (no {configs[0]}). Give one such as runs/demo."
        )
    use_jemalloc_for_tables()
    start_logging(folder.path)
    return Session(load_resolved(path.absolute()), folder, torch.device("cpu"))


def _deciding(config):
    """{key: value} of what decides what is trained. Machines may have their pictures in different places."""
    plain = as_plain(config)
    plain["data"] |= {key: "given" if plain["data"][key] else None for key in PLACES}
    values = {"name": config.name, "seed": config.seed}
    return values | {
        f"{section}.{key}": value for section in ("data", "teacher", "student") for key, value in plain[section].items()
    }


def _with_absolute_paths(config):
    """What is said of the pictures as whole paths, so that what is noted of a run holds wherever it is read from."""
    whole = {key: str(expanded(value).absolute()) for key in PLACES if (value := getattr(config.data, key)) is not None}
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **whole))


def pick_device(name):
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`; UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device='{name}': not a device. Use auto, cpu, cuda or cuda:N.") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise UserError(f"device='{name}': this project trains on auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device='{name}': there are {torch.cuda.device_count()} usable GPUs here. Use device=auto or device=cpu.")
    return device


def run_script(main, starts_others=False):
    """Call `main()` as a command: a UserError is printed without a stack trace, Ctrl-C says how to go on.

    starts_others: it starts scripts, and `kill` is to end the one that is under way too, as Ctrl-C does.
    """
    if starts_others:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
        distributed.finish()
    except UserError as error:
        _fail(error)
    except OSError as error:
        if error.filename is None:
            raise
        _fail(os_user_error(error, error.filename, "used"))
    except RuntimeError as error:
        lost = distributed.lost_connection(error)
        if lost is None:
            raise
        _fail(lost)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on from what is kept, if anything is.")


def _fail(error):
    distributed.tell_torchrun(str(error))
    sys.exit(f"error: {error}")
