"""manifest.json: what the files in a deploy folder are, what they expect, and how good they were measured to be."""

from importlib import metadata

from common.files import sha256, write_json, write_text
from deploy.openvino_ir import F32


def write_manifest(folder, *, meta, pixel_input, color, dynamic_batch, accuracy, parity, code_version):
    """Write labels.txt (a class a line) and manifest.json about all files in `folder`.

    meta: of the checkpoint. accuracy, parity: {artefact: number}.
    """
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in meta["classes"]))
    size = meta["preprocessing"]["image_size"]
    batch = None if dynamic_batch else 1
    write_json(
        folder / "manifest.json",
        {
            "classes": meta["classes"],
            "input": {
                "shape": [batch, size, size, 3] if pixel_input else [batch, 3, size, size],
                "layout": "NHWC" if pixel_input else "NCHW",
                "type": "uint8" if pixel_input else "float32",
                "color": color if pixel_input else "rgb",
                "normalised_by": "network" if pixel_input else "caller: (pixel / 255 - mean) / std",
            },
            "preprocessing": {
                **meta["preprocessing"],
                "how": "resize to (resize, resize), then cut image_size from the centre",
                "model_api": "resizes to image_size without the cut; for these figures do as 'how' says first",
            },
            "output": "logits",
            "openvino_inference_precision": F32["INFERENCE_PRECISION_HINT"],  # what the numbers below were measured in
            "accuracy": accuracy,
            "largest_difference_from_pytorch": parity,
            "model": meta["model"],
            "fingerprint": meta["fingerprint"],
            "trained_with": meta["code_version"],
            "exported_with": code_version,
            "versions": {name: metadata.version(name) for name in ("torch", "onnx", "onnxruntime", "openvino")},
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
                for path in sorted(folder.iterdir())
                if path.name != "manifest.json"
            },
        },
    )
