"""How every script begins and ends: arguments, configuration, device, run folder, and one clear message when something is wrong."""

import argparse
import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import DictAction

from common.errors import UserError
from utils import distributed
from utils.config import RunConfig, as_python, load_config
from utils.runlog import describe_run, log, start_logging


@dataclass(frozen=True)
class Session:
    config: RunConfig
    folder: Path  # runs/<name>
    device: torch.device
    args: argparse.Namespace


def argument_parser(description):
    """The arguments that the training scripts share: a config file and changes to it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="configs/jishi.py", help="config file (default: %(default)s)")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
                        help="change single values, such as student.lr=0.002 data.root=/my/pictures")  # fmt: skip
    return parser


def start(parser, argv):
    """Parse `argv`, load the config, join the other processes if any, open the run folder and its log."""
    args = parser.parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    keep_freed_memory()
    device = distributed.start(pick_device(config.device))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # the shapes never change
        torch.set_float32_matmul_precision("high")
    if config.num_threads or not distributed.is_distributed():
        torch.set_num_threads(config.num_threads or os.cpu_count())
    start_logging(config.folder, distributed.is_main())
    if distributed.is_main():
        describe_run(config.folder, as_python(config))
        for key, value in args.cfg_options.items():
            log.info(f"override: {key} = {value!r}")
    return Session(config, config.folder, device, args)


def reopen(folder):
    """The session of a run folder that the training scripts left, on the CPU; for scripts that use what lies in it."""
    folder = Path(folder)
    if not (folder / "config.py").is_file():
        raise UserError(f"{folder}: not a run folder (no config.py in it). Give the folder that m11.py wrote, such as runs/demo.")
    start_logging(folder)
    return Session(load_config(folder / "config.py"), folder, torch.device("cpu"), argparse.Namespace())


def keep_freed_memory():
    """Let glibc keep the memory of freed tensors for the next ones instead of giving it back and fetching it again every step.

    Training MobileNetV3-small on a CPU gains a quarter at 112 px. Elsewhere than on Linux with glibc it does nothing.
    """
    trim_threshold, mmap_threshold, never = -1, -3, 2**31 - 1  # names and values of <malloc.h>
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(trim_threshold, never)
        libc.mallopt(mmap_threshold, never)


def pick_device(name):
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`; UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device='{name}': not a device. Use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device='{name}': there are {torch.cuda.device_count()} usable GPUs here. Use device=auto or device=cpu.")
    return device


def run_script(main):
    """Call `main()` as a command: a UserError is printed without a stack trace, Ctrl-C says how to go on."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on from the last finished epoch.")
    finally:
        distributed.finish()
