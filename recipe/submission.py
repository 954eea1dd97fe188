"""What is handed in: the platform's library with all that it loads, laid out and proved from a clean folder.

    make submission RUN=runs/demo                        builds the C++ parts first
    python -m recipe.submission runs/demo --model model_int8.xml

Leaves RUN/submission/: lib/ (libji.so and OpenVINO), bin/ (classify), model/, config/, include/, example/ and licenses/.
Before the folder appears, a C program built against a copy of it must answer for validation pictures as Python does.
OpenCV's core, imgproc and imgcodecs are expected on the machine that runs it.
"""

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import write_json
from data.decode import read_rgb
from deploy.staging import staged_folder
from recipe import steps
from recipe.predictor import IrPredictor
from utils import session
from utils.runlog import log

REPO = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-3  # of probabilities: JPEG decoders differ a little
PICTURES = 20  # of the validation set, for the proof
KEYS = {"class": "class", "confidence": "confidence", "probabilities": "probabilities"}


def main(argv=None):
    args = parse(argv)
    run, model = session.reopen(args.run_dir), Path(args.run_dir, "deploy", args.model)
    if not model.is_file():
        raise UserError(f"{model}: not there. Run: python export_openvino.py {args.run_dir}{' --int8' * ('int8' in args.model)}")
    if not (args.build / "lib" / "libji.so").is_file():
        raise UserError(f"{args.build}/lib/libji.so: not there. Run: make cpp")
    with staged_folder(run.folder / "submission") as folder:
        lay_out(folder, model, args.build)
        difference = prove(folder, model, steps.validation_files(run)[0][:PICTURES])
    log.info(f"{run.folder / 'submission'}: answers as Python does (probabilities within {difference:.1e} on {PICTURES} pictures)")


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
    for source, name in (
        (model, "model.xml"), (model.with_suffix(".bin"), "model.bin"),
        (model.with_name("labels.txt"), "labels.txt"), (model.with_name("manifest.json"), "manifest.json"),
    ):  # fmt: skip
        shutil.copy(source, folder / "model" / name)
    (folder / "config").mkdir()
    write_json(folder / "config" / "config.json", {"model": "model.xml", "threads": 0, "keys": KEYS})
    shutil.copytree(REPO / "deploy" / "cpp" / "example", folder / "example")
    for file in importlib.metadata.files("openvino"):
        if "licenses" in file.parts:
            target = folder / "licenses" / "openvino" / Path(*file.parts[file.parts.index("licenses") + 1 :])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)
    for package in ("libopencv-core-dev", "nlohmann-json3-dev"):
        copyright = Path("/usr/share/doc", package, "copyright")
        if copyright.is_file():
            shutil.copy(copyright, folder / "licenses" / f"{package}.txt")


def prove(folder, model, pictures):
    """Build the example against a copy of `folder`, run it from another place; returns the largest difference from Python."""
    predictor = IrPredictor(model)
    with tempfile.TemporaryDirectory() as place:
        clean = Path(place, "handed-in")
        shutil.copytree(folder, clean, symlinks=True)
        program = clean / "example" / "answer"
        _call("cc", clean / "example" / "answer.c", f"-I{clean / 'include'}", f"-L{clean / 'lib'}", "-lji",
              "-Wl,-rpath,$ORIGIN/../lib", f"-Wl,-rpath-link,{clean / 'lib'}", "-o", program)  # fmt: skip
        printed = _call(program, *(path.resolve() for path in pictures), cwd="/", env={})
    differences = []
    for path, line in zip(pictures, printed.splitlines(), strict=True):
        answer, probs = json.loads(line), predictor(read_rgb(path))
        ours = predictor.classes[probs.argmax()]
        theirs = np.array([answer[KEYS["probabilities"]][name] for name in predictor.classes])
        differences.append(float(np.abs(theirs - probs).max()))
        if answer[KEYS["class"]] != ours or differences[-1] > TOLERANCE:
            raise UserError(
                f"{path}: the library says {answer[KEYS['class']]}, Python says {ours}; probabilities differ by "
                f"{differences[-1]:.1e}, allowed {TOLERANCE:.0e}. Nothing was written."
            )
    return max(differences)


def _call(*command, **options):
    """What the command prints; UserError if it fails or is not installed."""
    command = [str(word) for word in command]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout
    except FileNotFoundError as error:
        raise UserError(f"{command[0]}: not installed. On Debian and Ubuntu: apt-get install g++ cmake") from error
    except subprocess.CalledProcessError as error:
        raise UserError(f"{' '.join(command)} failed:\n{(error.stderr or error.stdout).strip()}") from error


if __name__ == "__main__":
    session.run_script(main)
