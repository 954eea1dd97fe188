"""manifest.json: what the files in a deploy folder are, what they expect, and how good they were measured to be."""

from importlib import metadata

from common.files import sha256, write_json, write_text
from deploy.openvino_ir import F32

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


def write_manifest(folder, *, meta, network_input, accuracy, parity, speed, code_version):
    """Write labels.txt (a class a line) and manifest.json about all files in `folder`.

    meta: of the checkpoint. network_input: a `deploy.inputs.NetworkInput`. accuracy, parity: {artefact: number}. speed: the rows of
    `deploy.benchmark.compare`.
    """
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in meta["classes"]))
    write_json(
        folder / "manifest.json",
        {
            "classes": meta["classes"],
            "input": network_input.describe(),
            "preprocessing": {
                **meta["preprocessing"],
                **HOW[network_input.fit],
            },
            "output": "logits",
            "openvino_inference_precision": F32["INFERENCE_PRECISION_HINT"],  # what the numbers below were measured in
            "accuracy": accuracy,
            "largest_difference_from_pytorch": parity,
            "speed": {name: {"ms": ms, "p99_ms": p99, "fps": fps, "fps_throughput": rate} for name, ms, p99, fps, rate in speed},
            "model": meta["model"],
            "fingerprint": meta["fingerprint"],
            "trained_with": meta["code_version"],
            "exported_with": code_version,
            "versions": {name: metadata.version(name) for name in ("torch", "onnx", "onnxruntime", "openvino", "nncf")},
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
                for path in sorted(folder.iterdir())
                if path.name != "manifest.json"
            },
        },
    )
