"""What is handed in: the platform's library with all that it loads, laid out and proved from a clean folder.

    make submission RUN=runs/demo                        builds the C++ parts first
    python -m recipe.submission runs/demo --model model_int8.xml

Leaves RUN/submission/: lib/ (libji.so and OpenVINO), bin/ (classify), model/, config/, include/, example/ and licenses/.
Before the folder appears, a C program built against a copy of it must answer for validation pictures as Python does.
It needs x86-64 Linux with glibc 2.28 or newer and libstdc++ (`recipe.system_needs` checks that), and nothing else.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import staged_folder, write_json
from recipe.names_picture import names_picture
from recipe.pictures import held_out_files
from recipe.predictor import IrPredictor, check_exported
from recipe.system_needs import check_needs
from utils import session
from utils.run_folder import DeployFolder
from utils.runlog import log

REPO = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4  # of probabilities, FP32 and INT8 alike: the same pixels, shapes and kernels; measured: 6e-7
PICTURES = 20  # of the validation set, for the proof
# Debian packages whose code is linked or compiled in.
LICENSED = (
    "nlohmann-json3-dev", "libjpeg62-turbo-dev", "libpng-dev", "libtiff-dev", "libwebp-dev", "libgif-dev", "zlib1g-dev",
    "libdeflate-dev", "liblzma-dev", "libzstd-dev", "libstdc++6",
)  # fmt: skip
ENGLISH = {**os.environ, "LC_ALL": "C"}
ANSWER = {"class": "$class", "confidence": "$confidence", "probabilities": "$probabilities"}  # see ji.h


def main(argv=None):
    args = parse(argv)
    run = session.reopen(args.run_dir)
    model = run.folder.deploy / args.model
    check_exported(run.folder, model)
    if not (args.build / "lib" / "libji.so").is_file():
        raise UserError(f"{args.build}/lib/libji.so: not there. Run: make cpp")
    pictures = evenly(*held_out_files(run), PICTURES)
    with staged_folder(run.folder.submission) as folder:
        lay_out(folder, model, args.build)
        compile_network(folder, model.name, pictures[0])
        check_needs({str(file.relative_to(folder)): _call("objdump", "-p", file, env=ENGLISH) for file in elf_files(folder)})
        difference = prove(folder, model, pictures)
    log.info(f"{run.folder.submission}: answers as Python does (probabilities within {difference:.1e} on {len(pictures)} pictures)")


def evenly(files, labels, number):
    """About `number` of `files`: as many of every class, one at least, the first ones of each."""
    turn = pd.Series(labels).groupby(labels).cumcount()  # 0 for the first file of a class, 1 for its second ...
    return [files[i] for i in turn.argsort(kind="stable")[: max(number, (turn == 0).sum())]]


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="the run's folder, exported")
    parser.add_argument("--model", default="model.xml", help="the IR in its deploy folder (default: %(default)s)")
    parser.add_argument("--build", type=Path, default=REPO / "build" / "cpp", help="where make cpp built (default: build/cpp)")
    return parser.parse_args(argv)


def lay_out(folder, model, build):
    """Libraries, model, configuration, header, example and licences."""
    _call("cmake", "--install", build, "--prefix", folder)
    (folder / "model").mkdir()
    files = DeployFolder(model.parent)
    for source in (model, model.with_suffix(".bin"), files.labels, files.manifest):
        shutil.copy(source, folder / "model")  # under their own names, by which the manifest knows them
    names_picture(IrPredictor(model).classes).save(folder / "model" / "names.png")
    (folder / "config").mkdir()
    config = {"model": model.name, "threads": 0, "draw_result": True, "draw_confidence": True, "answer": ANSWER}
    write_json(folder / "config" / "algo_config.json", config)
    shutil.copytree(REPO / "deploy" / "cpp" / "example", folder / "example")
    copy_licences(folder / "licenses")


def compile_network(folder, name, picture):
    """Leave the network compiled for this machine's processor in model/compiled, where both programs find it: a faster start."""
    compiled = folder / "model" / "compiled"
    _call(folder / "bin" / "classify", "--model", folder / "model" / name, "--cache", compiled, picture)
    if not (compiled.is_dir() and any(compiled.iterdir())):
        raise UserError(f"{compiled}: the compiled network cannot be written. Is the disk full? Nothing was written.")


def elf_files(folder):
    """Programs and libraries in `folder`, each once."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink() and _starts_as_elf(path)]


def _starts_as_elf(path):
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def copy_licences(folder):
    """Of OpenVINO, whose libraries are handed in, and of the packages `LICENSED`; one that is not found is told."""
    for file in importlib.metadata.files("openvino"):
        if "licenses" in file.parts:
            target = folder / "openvino" / Path(*file.parts[file.parts.index("licenses") + 1 :])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)
    for package in LICENSED:
        licence = Path("/usr/share/doc", package, "copyright")
        if licence.is_file():
            shutil.copy(licence, folder / f"{package}.txt")
        else:
            log.warning(f"{licence}: not there. Put the licence of what the C++ parts were built with into licenses/ by hand.")


def prove(folder, model, pictures):
    """Build the example against a copy of `folder`, run it from another place; returns the largest difference from Python."""
    predictor = IrPredictor(model)
    with tempfile.TemporaryDirectory() as place:
        clean = Path(place, "handed-in")
        shutil.copytree(folder, clean, symlinks=True)
        program = clean / "example" / "answer"
        _call("cc", clean / "example" / "answer.c", f"-I{clean / 'include'}", f"-L{clean / 'lib'}", "-lji",
              "-Wl,-rpath,$ORIGIN/../lib", f"-Wl,-rpath-link,{clean / 'lib'}", "-o", program)  # fmt: skip
        paths = [path.resolve() for path in pictures]
        printed = _call(program, *paths, cwd="/", env={})
        shutil.rmtree(clean / "model" / "compiled")
        if _call(program, *paths, cwd="/", env={}) != printed:
            raise UserError("the library answers otherwise where it compiles the network itself. Nothing was written.")
    differences = []
    for path, line in zip(pictures, printed.removesuffix("\n").split("\n"), strict=True):
        answer, probs = json.loads(line), predictor(predictor.read(path))
        ours = predictor.class_of(probs)
        theirs = np.array([answer["probabilities"][name] for name in predictor.classes])
        differences.append(float(np.abs(theirs - probs).max()))
        decided = abs(probs.max() - predictor.reject_below) > TOLERANCE  # else either may say unknown
        if (answer["class"] != ours and decided) or differences[-1] > TOLERANCE:
            raise UserError(
                f"{path}: the library says {answer['class']}, Python says {ours}; probabilities differ by "
                f"{differences[-1]:.1e}, allowed {TOLERANCE:.0e}. Nothing was written."
            )
    return max(differences)


def _call(*command, **options):
    """What the command prints; UserError if it fails or is not installed."""
    command = [str(word) for word in command]
    try:
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", **options).stdout
    except FileNotFoundError as error:
        raise UserError(f"{command[0]}: not installed. On Debian and Ubuntu: apt-get install g++ cmake") from error
    except subprocess.CalledProcessError as error:
        raise UserError(f"{' '.join(command)} failed:\n{(error.stderr or error.stdout).strip()}") from error


if __name__ == "__main__":
    session.run_script(main)
