"""Work of the scripts on a Ray cluster: of this machine, or one that runs. Ray is optional (requirements-ray.txt).

A task runs where its resources are free. It finds the project, the pictures and the work folder on storage that all nodes share,
leaves there what it makes, and says little back. Where a node dies another takes the task up, which goes on from what lies there.
"""

import argparse
import logging
import os
import pickle
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError, os_user_error
from common.files import make_folder, write_text
from common.memory import usable_cpus
from recipe.scripts import REPO, ScriptKilled, run_alone
from utils import distributed
from utils.runlog import log
from utils.session import positive

LOCAL = "local"  # the address of a cluster that is started for this command, on this machine
RETRIES = 10  # how often a task is taken up again whose node died
PATIENCE = 30.0  # seconds in which a network disk shows what another node wrote
OBJECTS = 200 * 2**20  # bytes of memory for what tasks say, on this machine
MINUTE = 60
BLOCKS = 1000  # of Ray Data's at most; one is given out as a whole


@dataclass(frozen=True)
class Task:
    """`function(*arguments)` on some node; `said` is a file there whose last line tells how far it is."""

    name: str
    function: Callable
    arguments: tuple
    said: Path


@dataclass(frozen=True)
class Done:
    """What a task returned, or the `UserError` that it raised, and where."""

    task: Task
    node: str
    value: object = None
    error: UserError | None = None

    def told(self):
        """The error, with the task and its node."""
        return UserError(f"{self.task.name} on {self.node}: {self.error}")


def script_task(name, run_folder, options, script, *arguments):
    """The `Task` of running a script with the KEY=VALUE `options`; what it says is kept in the `RunFolder`."""
    arguments += ("--cfg-options", *options) if options else ()
    place = run_folder.path / "ray" / name.replace(" ", "")
    return Task(name, run_alone, (script, place, list(map(str, arguments))), place / "output.txt")


def add_arguments(parser, *, gpus=True):
    """--ray and what goes with it; gpus: can a task use any?"""
    parser.set_defaults(gpus=None if gpus else 0)
    group = parser.add_argument_group("on a Ray cluster (docs/scaling.md)")
    group.add_argument("--ray", nargs="?", const=LOCAL, type=_address, metavar="ADDRESS",
                       help="auto or HOST:PORT of a cluster that runs (default: one on this machine)")  # fmt: skip
    group.add_argument("--cpus", type=positive, metavar="N", help="CPU cores of each task (default: 1)")
    if gpus:
        group.add_argument("--gpus", type=_gpus, metavar="N", help="GPUs of each task (default: 1 where the cluster has any)")
    group.add_argument("--dashboard", action="store_true", help="Ray's own, of a cluster on this machine")


def check_arguments(parser, args):
    """End with a usage error where something is asked of a cluster, and no cluster."""
    if args.ray is None and (args.cpus or args.gpus or args.dashboard):
        parser.error("--cpus, --gpus and --dashboard are of a cluster: --ray")


def _address(text):
    if text not in ("auto", LOCAL) and not re.fullmatch(r"(ray://)?[^\s/:]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text}: takes auto or HOST:PORT; other arguments stand before --ray")
    return text


def _gpus(text):
    number = float(text)
    if not 0 <= number < float("inf") or (number > 1 and number % 1):
        raise argparse.ArgumentTypeError(f"{text}: takes a whole number, or a share of one GPU, such as 0.5")
    return number


@contextmanager
def connected(args, folder):
    """The `Cluster` that the arguments ask for, whose nodes must share `folder`."""
    if distributed.is_announced():
        raise UserError("--ray gives out the work itself: start the script without torchrun.")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError("--ray: Ray is not installed. Run: pip install -r requirements-ray.txt") from error
    how = {"num_cpus": usable_cpus(), "object_store_memory": OBJECTS, "include_dashboard": args.dashboard}
    try:
        context = ray.init(args.ray, log_to_driver=False, logging_level="ERROR", **(how if args.ray == LOCAL else {}))
    except Exception as error:  # some are of no other class
        reason = " ".join(str(error).split())[:300]
        way_out = "Is the machine busy?" if args.ray == LOCAL else "Start one with `ray start --head`, or leave the address out."
        raise UserError(f"--ray {args.ray}: no cluster could be reached ({reason}). {way_out}") from error
    if args.dashboard and context.dashboard_url:
        log.info(f"dashboard: http://{context.dashboard_url}")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own would abort; this ends the tasks, as Ctrl-C does
    try:
        yield Cluster(ray, args, Path(folder))
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)


class Cluster:
    """What `connected` yields. Its tasks have `cpus` cores and `gpus` GPUs each."""

    def __init__(self, ray, args, folder):
        self.ray, self.folder = ray, folder.absolute()
        there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.cpus = args.cpus or 1
        self.gpus = any(resources.get("GPU") for resources in there) if args.gpus is None else args.gpus
        self.slots = sum(self._fit(resources) for resources in there)
        if not self.slots:
            largest = max(there, key=lambda resources: (resources.get("GPU", 0), resources.get("CPU", 0)))
            has = f"the largest node has {largest.get('CPU', 0):g} CPUs and {largest.get('GPU', 0):g} GPUs"
            if args.ray == LOCAL:
                raise UserError(f"--cpus {self.cpus} --gpus {self.gpus:g}: {has}. Ask for less.")
            log.info(f"no node has {self.cpus} CPUs and {self.gpus:g} GPUs yet ({has}); waiting for one")

    def _fit(self, resources):
        """How many tasks at once."""
        by_gpu = resources.get("GPU", 0) // self.gpus if self.gpus else float("inf")
        return int(min(resources.get("CPU", 0) // self.cpus, by_gpu))

    def options(self, options, config):
        """The KEY=VALUE `options` for a task: with as many threads as it has cores, unless the config says how many."""
        return [*options, *([] if config.num_threads else [f"num_threads={self.cpus}"])]

    def run_all(self, tasks):
        """Run the tasks to their end and tell of each; then a UserError where some failed."""
        failed = []
        with closing(self.run(tasks)) as ended:
            for done in ended:
                log.info(f"{done.task.name} on {done.node}: {done.error or 'done'}")
                failed += [done.told()] if done.error else []
        if failed:
            raise UserError(
                f"{len(failed)} of {len(tasks)} failed; the first, {failed[0]} The others are kept; the same command goes on."
            )

    def run(self, tasks):
        """Yield a `Done` for each task as it ends, and meanwhile show how far all of them are."""
        if not tasks:
            return
        for task in tasks:
            make_folder(task.said.parent)
        with self._token() as token:
            remote = self.ray.remote(_runner(_entrance(token)))
            again = {"max_retries": RETRIES, "retry_exceptions": [ScriptKilled]}
            remote = remote.options(num_cpus=self.cpus, num_gpus=self.gpus, scheduling_strategy="SPREAD", **again)
            running = {remote.remote(str(_node_file(task)), pickle.dumps((task.function, task.arguments))): task for task in tasks}
            screen = Screen(len(running))
            try:
                while running:
                    for ref in self.ray.wait(list(running), timeout=1)[0]:
                        screen.clear()
                        yield self._done(ref, running.pop(ref))
                    screen.show(list(running.values()))
            finally:
                screen.clear()
                for ref in running:
                    self.ray.cancel(ref)  # what it runs is ended there
                self.ray.wait(list(running), num_returns=len(running), timeout=10)

    def map(self, function, arguments, items):
        """Yield the whole numbers `items` as Ray Data has done them: by what `function(*arguments)` makes, once in each process.

        At the end raises UserError where some could not be done.
        """
        import ray.data

        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        with self._token() as token:
            parts = ray.data.from_items([{"item": item} for item in items], override_num_blocks=min(len(items), BLOCKS))
            pool = ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(len(items), self.slots)))
            how = {"num_cpus": self.cpus, "num_gpus": self.gpus, "batch_size": 1, "compute": pool}
            made = parts.map_batches(_mapper(_entrance(token), pickle.dumps((function, arguments))), **how)
            errors = []
            for row in made.iter_rows():
                errors += [row["error"]] if row["error"] else []
                yield row["item"]
        if errors:
            raise UserError(
                f"{len(errors)} of {len(items)} parts failed; the first: {errors[0]} The same command goes on with them."
            )

    @contextmanager
    def _token(self):
        """A file in the work folder that a node sees which shares it."""
        make_folder(self.folder)
        token = self.folder / f".shared-{secrets.token_hex(8)}"
        token.touch()
        try:
            yield token
        finally:
            token.unlink(missing_ok=True)

    def _done(self, ref, task):
        try:
            node, value, lacks = self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ScriptKilled):
                return Done(task, "?", error=error.cause)
            raise  # a fault of the program
        except self.ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[:300]
            return Done(task, "?", error=UserError(f"{RETRIES + 1} processes that were at it died, the last: {reason}"))
        error = UserError(lacks) if lacks else value if isinstance(value, UserError) else None
        return Done(task, node, value, error)


def _entrance(token):
    """What a node does first: a function that returns (the node's name, what it lacks or None).

    It travels whole, as do those below that call it, so that even a node without the project can say so.
    """
    repo, folder, token = str(REPO), os.getcwd(), str(token)

    def enter():
        import os
        import socket
        import sys

        node = socket.gethostname()
        for place, what in ((repo, "the project"), (folder, "the folder in which the command was started")):
            if not os.path.isdir(place):
                return node, f"node {node} has not {what}: {place}. All nodes must see it at this path."
        os.chdir(folder)
        sys.path.insert(0, repo)
        from recipe.cluster import shares

        return node, shares(node, token)

    return enter


def _runner(enter):
    """(file for the node's name, a `Task`'s pickled call) -> (node, what it returns or the `UserError`, what the node lacks)."""

    def run(node_file, call):
        node, lacks = enter()
        if lacks:
            return node, None, lacks
        from recipe.cluster import answer

        return node, answer(node, node_file, call), None

    return run


def _mapper(enter, making):
    """A class for Ray Data, whose instances each make a function by the pickled call, once, and call it with one item at a time."""

    class Mapper:
        function = error = None

        def __call__(self, batch):
            if not (self.function or self.error):
                node, self.error = enter()
                if not self.error:
                    from recipe.cluster import make

                    self.function, self.error = make(node, making)
            item = batch["item"][0]
            error = self.error or self.function(int(item))
            return {"item": [item], "error": [error or ""]}

    return Mapper


def shares(node, token):
    """None where the node sees the file `token`, else what it lacks."""
    if not distributed.appears(Path(token), PATIENCE):
        return (
            f"node {node} does not see in {Path(token).parent} what the others write there. All nodes must share that folder: "
            "choose one on a disk that all of them mount."
        )
    return None


def answer(node, node_file, call):
    """What the pickled call returns, or the UserError that it raises; on the node. Raises `ScriptKilled`: Ray tries again."""
    write_text(Path(node_file), f"{node}\n")
    function, arguments = pickle.loads(call)
    try:
        return function(*arguments)
    except ScriptKilled:
        raise
    except UserError as error:
        return error
    except OSError as error:
        return os_user_error(error, error.filename or node_file, "used")


def make(node, making):
    """(a function that returns why it cannot do an item, or None; None), or (None, why there is none); on the node."""
    function, arguments = pickle.loads(making)
    try:
        made = function(*arguments)
    except UserError as error:
        return None, f"node {node}: {error}"

    def do(item):
        try:
            made(item)
        except (UserError, OSError) as error:
            return f"node {node}: {error}"
        return None

    return do, None


def _node_file(task):
    return task.said.with_name("node.txt")


class Screen:
    """How far the tasks are, a line for each that runs: on a terminal always the newest, elsewhere once a minute."""

    def __init__(self, count):
        self.count, self.start, self.height, self.next = count, time.time(), 0, time.monotonic() + MINUTE

    def show(self, tasks):
        """tasks: those that have not ended."""
        running = [task for task in tasks if self._has_begun(task)]
        lines = [f"{task.name} on {_last_line(_node_file(task))}: {_last_line(task.said)}" for task in running]
        lines.append(f"{self.count - len(tasks)} of {self.count} done, {len(running)} running, {len(tasks) - len(running)} waiting")
        if sys.stderr.isatty():
            self.clear()
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write("".join(f"{line[:width]}\n" for line in lines))
            sys.stderr.flush()
            self.height = len(lines)
        elif time.monotonic() > self.next:
            self.next = time.monotonic() + MINUTE
            log.info("\n".join(lines))

    def clear(self):
        """Take the lines off the terminal, so that others may be written."""
        if self.height:
            sys.stderr.write(f"\x1b[{self.height}F\x1b[J")
            sys.stderr.flush()
            self.height = 0

    def _has_begun(self, task):
        file = _node_file(task)
        return file.is_file() and file.stat().st_mtime >= self.start - MINUTE  # clocks of nodes may differ


def _last_line(file):
    """What a file said last, "" where there is none; a progress bar writes its newest state behind a carriage return."""
    try:
        with open(file, "rb") as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - 4096))
            lines = re.split(r"[\r\n]+", opened.read().decode("utf-8", "replace").strip())
    except OSError:
        return ""
    return lines[-1]
