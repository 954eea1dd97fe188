"""Export: fuse convolution and BatchNorm -> ONNX -> OpenVINO IR, all checked against PyTorch before they are kept.

    python export_openvino.py runs/demo
    python export_openvino.py runs/demo --int8                        INT8 beside FP32, at most half a point worse
    python export_openvino.py runs/demo --input uint8 --color bgr     raw pixels in, normalisation in the network
    python export_openvino.py runs/demo --input uint8 --resize        whole pictures in, resizing in the network too
    python export_openvino.py runs/demo --checkpoint best --batch 1
    python export_openvino.py runs/demo --reject 0.6                  programs answer `unknown` where they are less sure
    python export_openvino.py runs/demo --page                        a page too, that runs the student in a browser

Reads runs/<name>/student/averaged.pth, leaves runs/<name>/deploy/{model.onnx,model.xml,model.bin,labels.txt,held_out.csv,
manifest.json}, with --int8 model_int8.xml and .bin too, with --page the folder page/, and runs/<name>/report.html, and prints what
the run achieved. The network's last layer is divided by a temperature, so that its probabilities are true. If an exported file
answers differently from PyTorch, nothing is written. A test part, which no script looked at before, is measured now.
"""

import argparse
import math

from common.errors import UserError
from common.files import check_writable, staged_folder
from deploy.inputs import NetworkInput
from deploy.manifest import write_manifest
from deploy.timing import compare, machine
from recipe.exporting import open_export
from recipe.labels import label_rows
from recipe.page import check_runtime, write_page
from recipe.saved_model import load_model
from recipe.testing import measure_on_test
from reports.page import write_report
from utils import session
from utils.run_folder import DeployFolder
from utils.runlog import code_version, format_table, log

INT8_BUDGET = 0.5  # percentage points


def main(argv=None):
    args = parse(argv)
    if args.page:
        check_runtime()
    run = session.reopen(args.run_dir)
    check_writable(run.folder.path)
    checkpoint = run.folder.trained() if args.checkpoint is None else named_checkpoint(run.folder.student.path, args.checkpoint)
    saved = load_model(checkpoint)
    taken = NetworkInput(saved.preprocessing, args.input == "uint8", args.color, args.resize, args.batch == "1")
    export = open_export(run, saved, taken, args.reject)

    with staged_folder(run.folder.deploy) as folder:
        files = DeployFolder(folder)
        export.write(files)
        scores, differences = export.check(files, args.tolerance)
        if args.int8:
            scores |= export.write_int8(files, scores["OpenVINO"], args.int8_budget)
        speed = compare(export.engines(files))
        measured = {
            "accuracy": scores, "measured_on": export.measured_on, "parity": differences, "speed": speed,
            "calibration": export.calibration, "reject_below": args.reject,
        }  # fmt: skip
        write_manifest(files, checkpoint, saved.meta, taken, measured, code_version())
        if args.page:
            write_page(files, export, args.tolerance)
    run.folder.save_results("deploy", {"checkpoint": checkpoint.name, **measured})
    if not args.no_test and (test := measure_on_test(run, export, run.folder.exported)):
        run.folder.save_results("test", test)
    report(run.folder)
    if not args.no_report:
        write_report(run, run.folder.report)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", help="the run's folder, such as runs/demo")
    parser.add_argument("--checkpoint", help="best, averaged or final_1 ...; default: averaged where there is one")
    parser.add_argument("--input", choices=("float", "uint8"), default="float",
                        help="float: NCHW, normalised, as in training (default); uint8: raw NHWC pixels")  # fmt: skip
    parser.add_argument("--color", choices=("rgb", "bgr"), help="channel order of uint8 pixels (default: rgb; with --resize: bgr)")
    parser.add_argument("--resize", action="store_true", help="the IR takes whole pictures of any size (OpenVINO Model API)")
    parser.add_argument("--batch", choices=("dynamic", "1"), default="dynamic", help="any batch size (default), or one image")
    parser.add_argument("--int8", action="store_true", help="an INT8 IR too, quantised on training pictures")
    parser.add_argument("--page", action="store_true", help="a folder page/ too, which a web server shows (npm ci in deploy/page)")
    parser.add_argument("--int8-budget", type=not_negative, metavar="POINTS",
                        help=f"percentage points of accuracy that INT8 may cost (default: {INT8_BUDGET})")  # fmt: skip
    parser.add_argument(
        "--no-test", action="store_true", help="leave a test part alone, such as where several students are compared"
    )
    parser.add_argument("--no-report", action="store_true", help="leave out RUN/report.html, which report.py writes too")
    parser.add_argument("--tolerance", type=not_negative, default=1e-4,
                        help="largest difference of probabilities (default: %(default)s)")  # fmt: skip
    parser.add_argument("--reject", type=session.share, default=0.0, metavar="X",
                        help="programs answer 'unknown' where the confidence is below X, 0..1 (default: 0, never)")  # fmt: skip
    args = parser.parse_args(argv)
    if args.int8_budget is not None and not args.int8:
        parser.error("--int8-budget needs --int8")
    if args.int8_budget is None:
        args.int8_budget = INT8_BUDGET
    if args.resize and (args.input != "uint8" or args.color == "rgb"):
        parser.error("--resize needs --input uint8, and BGR: whole pictures are taken as OpenCV and Model API read them")
    if args.color == "bgr" and args.input != "uint8":
        parser.error("--color bgr needs --input uint8: normalised floats are taken as in training, RGB")
    args.color = args.color or ("bgr" if args.resize else "rgb")
    return args


def not_negative(text):
    """A number from 0 up."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number, 0 or more")
    return number


def named_checkpoint(folder, name):
    """The file of that name, with or without .pth, among the student's; UserError where there is none."""
    path = folder / f"{name.removesuffix('.pth')}.pth"
    if path.parent != folder or not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.pth"))) or "none"
        raise UserError(f"--checkpoint {name}: the student has no such checkpoint. There are: {there}.")
    return path


def report(folder):
    """What the run achieved, and where it lies."""
    results = folder.results()
    teacher, student, deploy = (results.get(name, {}) for name in ("teacher", "student", "deploy"))
    scores, on = deploy["accuracy"], deploy["measured_on"]
    students = [
        ("student, best checkpoint", "best", folder.student.best),
        ("student, averaged checkpoints", "averaged", folder.student.averaged),
        ("the same on hard labels, best checkpoint", "control_best", folder.control.best),
        ("the same on hard labels, averaged checkpoints", "control_averaged", folder.control.averaged),
    ]
    rows = [
        ("teacher, out-of-fold", teacher.get("oof_accuracy"), "training pictures", folder.oof),
        ("teacher, against the true labels", teacher.get("true_accuracy"), "training pictures", folder.oof),
        ("teacher, mean of the folds' models", teacher.get("val_accuracy"), "validation pictures", folder.teacher.path),
        *((what, student.get(f"{name}_accuracy"), student.get(f"{name}_on"), path) for what, name, path in students),
        ("ONNX", scores["ONNX Runtime"], on, folder.exported.onnx),
        ("OpenVINO IR", scores["OpenVINO"], on, folder.exported.network),
        ("OpenVINO IR INT8", scores.get("OpenVINO INT8"), on, folder.exported.network_int8),
    ]
    test = results.get("test", {}).get("accuracy", {})
    made = {
        "teacher": ("teacher, mean of the folds' models", folder.teacher.path),
        "PyTorch": ("student", folder.student.path / deploy["checkpoint"]),
        "ONNX Runtime": ("ONNX", folder.exported.onnx),
        "OpenVINO": ("OpenVINO IR", folder.exported.network),
        "OpenVINO INT8": ("OpenVINO IR INT8", folder.exported.network_int8),
    }
    rows += [(made[name][0], value, "test pictures", made[name][1]) for name, value in test.items()]
    rows = [(what, f"{value:.4f}", where, str(path), _size(path)) for what, value, where, path in rows if value is not None]
    log.info("\n" + format_table(rows, ("what", "accuracy", "on", "where", "size")))
    if teacher:
        log.info("\n" + "\n".join(f"{what}: {number}" for what, number in label_rows(teacher)))
    speed = [(name, f"{ms:.2f}", f"{p99:.2f}", f"{fps:.0f}", f"{rate:.0f}") for name, ms, p99, fps, rate in deploy["speed"]]
    log.info("\n" + format_table(speed, ("engine (CPU)", "ms an image", "p99 ms", "FPS", "FPS, many at a time")))
    milliseconds = {name: ms for name, ms, *_ in deploy["speed"]}
    if int8 := milliseconds.get("OpenVINO INT8"):
        fp32 = milliseconds["OpenVINO"]
        faster = folder.exported.network_int8 if int8 < fp32 else folder.exported.network
        ratio = max(int8, fp32) / min(int8, fp32)
        log.info(f"\nThe faster one here, {ratio:.2f} times as fast one at a time: {faster} ({machine()})")
    if found := deploy["calibration"]:
        log.info(
            f"\ncalibration: temperature {found['temperature']:.2f}, fitted on {found['fitted_on']} ({found['pictures']}); "
            f"calibration error (ECE) {found['ece_before']:.4f} -> {found['ece_after']:.4f}"
        )
    if folder.exported.page.is_dir():
        log.info(f"\nThe page: python -m http.server --directory {folder.exported.page}, then http://localhost:8000")


def _size(path):
    """Megabytes of a model's file, an IR's weights included; nothing for tables and folders."""
    if path.suffix not in (".pth", ".onnx", ".xml"):
        return ""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return f"{sum(file.stat().st_size for file in files) / 2**20:.1f} MiB"


if __name__ == "__main__":
    session.run_script(main)
