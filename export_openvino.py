"""Export: fuse convolution and BatchNorm -> ONNX -> OpenVINO IR, all checked against PyTorch before they are kept.

    python export_openvino.py runs/demo
    python export_openvino.py runs/demo --int8                        INT8 beside FP32, at most half a point worse
    python export_openvino.py runs/demo --input uint8 --color bgr     raw pixels in, normalisation in the network
    python export_openvino.py runs/demo --input uint8 --resize        whole pictures in, resizing in the network too
    python export_openvino.py runs/demo --checkpoint best --batch 1

Reads runs/<name>/student/averaged.pth, leaves runs/<name>/deploy/{model.onnx,model.xml,model.bin,labels.txt,manifest.json},
with --int8 model_int8.xml and .bin too, and prints what the run achieved. If an exported file answers differently from
PyTorch, nothing is written.
"""

import argparse

from common.errors import UserError
from common.files import read_json
from deploy.benchmark import compare, onnx_engine, openvino_engine, torch_engine
from deploy.fuse import fuse, unfused_batchnorms
from deploy.inputs import NetworkInput
from deploy.manifest import write_manifest
from deploy.staging import staged_folder
from recipe import exporting, steps
from utils import session
from utils.metrics import accuracy
from utils.runlog import code_version, format_table, log, save_results


def main(argv=None):
    args = parse(argv)
    run = session.reopen(args.run_dir)
    checkpoint = run.folder / "student" / f"{args.checkpoint or steps.final_checkpoint(run)}.pth"
    model, meta = steps.load_model(checkpoint)
    training, squares, labels = exporting.open_squares(run, meta)
    taken = NetworkInput(meta["preprocessing"], args.input == "uint8", args.color, args.resize, args.batch == "1")

    fused = fuse(model)
    if unfused_batchnorms(fused):
        raise UserError(f"BatchNorms left after fusing: {', '.join(unfused_batchnorms(fused))}.")
    scores = {"PyTorch": accuracy(exporting.probabilities(model, taken.normalised(squares)), labels)}

    with staged_folder(run.folder / "deploy") as folder:
        files = folder / "model.onnx", folder / "model.xml"
        exporting.write_networks(fused, files, taken, squares, exporting.ir_notes(meta, taken, scores["PyTorch"]))
        differences = exporting.gate(model, fused, files, taken, squares, labels, scores, args.tolerance)
        engines = [
            torch_engine("PyTorch eager", model, taken.normalised(squares[:64])),
            torch_engine("PyTorch fused", fused, taken.normalised(squares[:64])),
            onnx_engine("ONNX Runtime", files[0], taken.onnx_input(squares[:64]), fixed_batch=taken.fixed_batch),
            openvino_engine("OpenVINO", files[1], taken.ir_input(squares[:64])),
        ]
        if args.int8:
            path = folder / "model_int8.xml"
            if exporting.write_int8(fused, path, taken, training, squares, labels, scores, meta, args.int8_budget):
                engines.append(openvino_engine("OpenVINO INT8", path, taken.ir_input(squares[:64])))
        speed = compare(engines)
        write_manifest(folder, meta=meta, network_input=taken, accuracy=scores, parity=differences, speed=speed,
                       code_version=code_version())  # fmt: skip
    save_results(run.folder, "deploy", {"checkpoint": str(checkpoint), "accuracy": scores, "parity": differences, "speed": speed})
    report(run.folder)


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
    parser.add_argument("--int8-budget", type=float, default=0.5, metavar="POINTS",
                        help="percentage points of validation accuracy that INT8 may cost (default: %(default)s)")  # fmt: skip
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference of probabilities (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.resize and (args.input != "uint8" or args.color == "rgb"):
        parser.error("--resize needs --input uint8, and BGR: whole pictures are taken as OpenCV and Model API read them")
    args.color = args.color or ("bgr" if args.resize else "rgb")
    return args


def report(folder):
    """One table of what the run achieved, and where its files are."""
    results = read_json(folder / "results.json")
    teacher, student, deploy = (results.get(name, {}) for name in ("teacher", "student", "deploy"))
    scores, files = deploy["accuracy"], folder / "deploy"
    rows = [
        ("teacher, out-of-fold", teacher.get("oof_accuracy"), folder / "oof.csv"),
        ("teacher, validation (mean of the folds' models)", teacher.get("val_accuracy"), folder / "teacher"),
        ("student, validation, best checkpoint", student.get("best_accuracy"), folder / "student" / "best.pth"),
        ("student, validation, averaged checkpoints", student.get("averaged_accuracy"), folder / "student" / "averaged.pth"),
        ("ONNX, validation", scores["ONNX Runtime"], files / "model.onnx"),
        ("OpenVINO IR, validation", scores["OpenVINO"], files / "model.xml"),
        ("OpenVINO IR INT8, validation", scores.get("OpenVINO INT8"), files / "model_int8.xml"),
    ]
    rows = [(what, f"{value:.4f}", str(path), _size(path)) for what, value, path in rows if value is not None]
    log.info("\n" + format_table(rows, ("what", "accuracy", "where", "size")))
    speed = [(name, f"{ms:.2f}", f"{p99:.2f}", f"{fps:.0f}", f"{rate:.0f}") for name, ms, p99, fps, rate in deploy["speed"]]
    log.info("\n" + format_table(speed, ("engine (CPU)", "ms an image", "p99 ms", "FPS", "FPS, many at a time")))


def _size(path):
    """Megabytes of a model's file, an IR's weights included; nothing for tables and folders."""
    if path.suffix not in (".pth", ".onnx", ".xml"):
        return ""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return f"{sum(file.stat().st_size for file in files) / 2**20:.1f} MiB"


if __name__ == "__main__":
    session.run_script(main)
