"""manifest.json: what the files in a deploy folder are, what they expect, and how good they were measured to be."""

from importlib import metadata

from common.files import read_json, sha256, write_json, write_text
from deploy.notes import number_in
from deploy.openvino_ir import F32
from deploy.timing import machine
from utils.calibration import LIMITS

SHRINK_ON_LOAD = "JPEGs: decode at the least of libjpeg's scales k/8 that leaves both sides (rounded up) >= shrink_on_load * resize"
HOW = {
    "stretch": {
        "how": "resize to (resize, resize), then cut image_size from the centre",
        "model_api": "wants the IR that takes whole pictures (--input uint8 --resize); for others it leaves out the cut",
    },
    "pad": {
        "how": "resize until the longer side is `resize`, fill up to a square with grey (128), then cut image_size from the centre",
        "model_api": "stretches pictures, so it is not for this network",
    },
}


def read_answering(path):
    """(temperature, confidence below which the answer is unknown) of the manifest at `path`; UserError where they are none.

    (1.0, 0.0) of a manifest that does not speak of them.
    """
    manifest = read_json(path)
    found = manifest.get("calibration", {"temperature": 1.0})
    temperature = found.get("temperature") if isinstance(found, dict) else found
    return (
        number_in(*LIMITS, temperature, f"{path}: the temperature"),
        number_in(0, 1, manifest.get("reject_below", 0.0), f"{path}: reject_below"),
    )


def write_manifest(files, checkpoint, meta, network_input, measured, code_version):
    """Write labels.txt (a class a line) and manifest.json about all files in the `DeployFolder` `files`.

    checkpoint, meta: the file that was exported and what it says of itself. network_input: a `deploy.inputs.NetworkInput`.
    measured: {'accuracy': {engine: number}, 'measured_on': on which pictures, in words, 'parity': {engine: number}, 'speed': the
    rows of `deploy.timing.compare`, 'calibration': that of utils/calibration.py, 'reject_below': confidence 0..1}.
    """
    write_text(files.labels, "".join(f"{name}\n" for name in meta["classes"]))
    write_json(
        files.manifest,
        {
            "classes": meta["classes"],
            "input": network_input.describe(),
            "preprocessing": {
                **network_input.preprocessing.as_dict(),
                **({"decode": SHRINK_ON_LOAD} if network_input.preprocessing.shrink_on_load else {}),
                **HOW[network_input.preprocessing.fit],
            },
            "output": "logits",
            "openvino_inference_precision": F32["INFERENCE_PRECISION_HINT"],  # what the numbers below were measured in
            "accuracy": measured["accuracy"],
            "accuracy_measured_on": measured["measured_on"],
            "largest_difference_from_pytorch": measured["parity"],
            "calibration": measured["calibration"],  # the logits are divided by its temperature already
            "reject_below": measured["reject_below"],
            "speed_measured_on": machine(),
            "speed": {
                name: {"ms": ms, "p99_ms": p99, "fps": fps, "fps_throughput": rate}
                for name, ms, p99, fps, rate in measured["speed"]
            },
            "checkpoint": {"file": checkpoint.name, "sha256": sha256(checkpoint)},
            "model": meta["model"],
            "fingerprint": meta["fingerprint"],
            "trained_with": meta["code_version"],
            "exported_with": code_version,
            "versions": {name: metadata.version(name) for name in ("torch", "onnx", "onnxruntime", "openvino", "nncf")},
        },
    )
    list_files(files)


def list_files(files):
    """Put all files that lie in the `DeployFolder` `files` now, but for its manifest, into that."""
    found = [path for path in sorted(files.path.rglob("*")) if path.is_file() and path != files.manifest]
    listed = {path.relative_to(files.path).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in found}
    write_json(files.manifest, {**read_json(files.manifest), "files": listed})
