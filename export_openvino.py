"""Export: fuse convolution and BatchNorm -> ONNX -> OpenVINO IR, all checked against PyTorch before they are kept.

    python export_openvino.py runs/demo
    python export_openvino.py runs/demo --input uint8 --color bgr     raw pixels in, normalisation in the network
    python export_openvino.py runs/demo --checkpoint best --batch 1

Reads runs/<name>/student/averaged.pth, leaves runs/<name>/deploy/{model.onnx,model.xml,model.bin,labels.txt,manifest.json} and
prints what the run achieved. If an exported file answers differently from PyTorch, nothing is written.
"""

import argparse

import numpy as np
import torch
from scipy.special import softmax

from common.errors import UserError
from common.files import read_json
from data.batches import crop
from deploy.benchmark import compare, torch_runner
from deploy.fuse import PixelInput, fuse, unfused_batchnorms
from deploy.manifest import write_manifest
from deploy.onnx_file import export_onnx
from deploy.openvino_ir import model_info, write_ir
from deploy.parity import check_parity, ir_probabilities, onnx_probabilities
from deploy.staging import staged_folder
from recipe import steps
from utils import session
from utils.metrics import accuracy
from utils.runlog import code_version, format_table, log, save_results


def main(argv=None):
    args = parse(argv)
    run = session.reopen(args.run_dir)
    checkpoint = run.folder / "student" / f"{args.checkpoint or steps.final_checkpoint(run)}.pth"
    model, meta = steps.load_model(checkpoint)
    pixels, labels = held_out_pixels(run, meta)

    fused = fuse(model)
    if unfused_batchnorms(fused):
        raise UserError(f"BatchNorms left after fusing: {', '.join(unfused_batchnorms(fused))}.")
    network, pixel_input = fused, None
    if args.input == "uint8":
        pixel_input = meta["preprocessing"]["mean"], meta["preprocessing"]["std"], args.color
        model, fused = PixelInput(model, *pixel_input), PixelInput(fused, *pixel_input)
    inputs = network_inputs(pixels, args, meta)

    with staged_folder(run.folder / "deploy") as folder:
        files = folder / "model.onnx", folder / "model.xml"
        export_onnx(fused, torch.from_numpy(inputs[:2]), files[0], dynamic_batch=args.batch == "dynamic")
        scores = {"PyTorch": accuracy(probabilities(model, inputs), labels)}
        info = model_info(meta["classes"], meta["preprocessing"], args.input == "uint8", args.color,
                          fingerprint=meta["fingerprint"], accuracy=f"{scores['PyTorch']:.4f}",
                          **{f"input_{key}": value for key, value in meta["preprocessing"].items()})  # fmt: skip
        on_floats = files[0]
        if pixel_input:  # the IR is made of the bare network, see write_ir
            on_floats, size = folder / "floats.onnx", meta["preprocessing"]["image_size"]
            export_onnx(network, torch.zeros(2, 3, size, size), on_floats, dynamic_batch=args.batch == "dynamic")
        write_ir(on_floats, files[1], info, pixels=pixel_input)
        if pixel_input:
            on_floats.unlink()
        differences = gate(model, fused, files, inputs, labels, scores, args)
        write_manifest(
            folder,
            meta=meta,
            pixel_input=args.input == "uint8",
            color=args.color,
            dynamic_batch=args.batch == "dynamic",
            accuracy=scores,
            parity=differences,
            code_version=code_version(),
        )
        speed = compare(model, fused, *files, inputs[:64], fixed_batch=args.batch == "1")
    save_results(run.folder, "deploy", {"checkpoint": str(checkpoint), "accuracy": scores, "parity": differences, "speed": speed})
    report(run.folder)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", help="the run's folder, such as runs/demo")
    parser.add_argument("--checkpoint", help="best, averaged or final_1 ...; default: averaged where there is one")
    parser.add_argument("--input", choices=("float", "uint8"), default="float",
                        help="float: NCHW, normalised, as in training (default); uint8: raw NHWC pixels")  # fmt: skip
    parser.add_argument("--color", choices=("rgb", "bgr"), default="rgb", help="channel order of uint8 pixels (default: rgb)")
    parser.add_argument("--batch", choices=("dynamic", "1"), default="dynamic", help="any batch size (default), or one image")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference of probabilities (default: %(default)s)")
    return parser.parse_args(argv)


def held_out_pixels(run, meta):
    """(uint8 (N, S, S, 3), labels (N,)) of the validation pictures, as the network sees them before normalisation."""
    train = run.config.student
    dataset, validation = steps.open_data(run, train)
    if dataset.fingerprint != meta["fingerprint"]:
        raise UserError(f"{run.config.data.root}: the data set's fingerprint differs from the one the student was trained on.")
    held_out, rows = steps.student_split(run, dataset, validation)[1]
    return crop(held_out.images, rows, train.image_size, "center", None), held_out.labels[rows]


def network_inputs(pixels, args, meta):
    """The pixels as the exported network takes them: as they are (RGB or BGR), or float32 NCHW, normalised."""
    if args.input == "uint8":
        return np.ascontiguousarray(pixels[..., ::-1] if args.color == "bgr" else pixels)
    mean, std = (np.float32(meta["preprocessing"][key]) for key in ("mean", "std"))
    return np.ascontiguousarray(((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))


def probabilities(model, inputs):
    """PyTorch's answer, float32 (N, K)."""
    run = torch_runner(model)
    return np.concatenate([softmax(run(batch).numpy(), axis=1) for batch in np.split(inputs, range(64, len(inputs), 64))])


def gate(model, fused, files, inputs, labels, scores, args):
    """Real and random inputs through all engines; adds each engine's accuracy to `scores`, returns the largest differences."""
    if inputs.dtype == np.uint8:
        noise = np.random.default_rng(0).integers(0, 256, (16, *inputs.shape[1:]), np.uint8)
    else:
        noise = np.random.default_rng(0).standard_normal((16, *inputs.shape[1:]), np.float32)
    everything = np.concatenate([inputs, noise])
    step = 1 if args.batch == "1" else 64
    batches = np.split(everything, range(step, len(everything), step))
    answers = {
        "PyTorch fused": probabilities(fused, everything),
        "ONNX Runtime": onnx_probabilities(files[0], batches),
        "OpenVINO": ir_probabilities(files[1], batches),
    }
    scores |= {engine: accuracy(probs[: len(labels)], labels) for engine, probs in answers.items()}
    differences = check_parity(probabilities(model, everything), answers, args.tolerance)
    log.info("largest difference of probabilities from PyTorch: " + ", ".join(f"{k} {v:.1e}" for k, v in differences.items()))
    return differences


def report(folder):
    """One table of what the run achieved, and where its files are."""
    results = read_json(folder / "results.json")
    teacher, student, deploy = (results.get(name, {}) for name in ("teacher", "student", "deploy"))
    rows = [
        ("teacher, out-of-fold", teacher.get("oof_accuracy"), folder / "oof.csv"),
        ("teacher, validation (mean of the folds' models)", teacher.get("val_accuracy"), folder / "teacher"),
        ("student, validation, best checkpoint", student.get("best_accuracy"), folder / "student" / "best.pth"),
        ("student, validation, averaged checkpoints", student.get("averaged_accuracy"), folder / "student" / "averaged.pth"),
        ("ONNX, validation", deploy["accuracy"]["ONNX Runtime"], folder / "deploy" / "model.onnx"),
        ("OpenVINO IR, validation", deploy["accuracy"]["OpenVINO"], folder / "deploy" / "model.xml"),
    ]
    rows = [(what, f"{value:.4f}", str(path)) for what, value, path in rows if value is not None]
    size = sum((folder / "deploy" / name).stat().st_size for name in ("model.xml", "model.bin"))
    rows.append(("size of the IR", f"{size / 2**20:.1f} MiB", str(folder / "deploy")))
    log.info("\n" + format_table(rows, ("what", "accuracy", "where")))
    speed = [(name, f"{ms:.2f}", f"{p99:.2f}", f"{fps:.0f}", f"{rate:.0f}") for name, ms, p99, fps, rate in deploy["speed"]]
    log.info("\n" + format_table(speed, ("engine (CPU)", "ms an image", "p99 ms", "FPS", "FPS, many at a time")))


if __name__ == "__main__":
    session.run_script(main)
