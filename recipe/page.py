"""A page that runs a student in the visitor's browser: RUN/deploy/page, a folder for any web server. deploy/page/ is its source.

    python export_openvino.py RUN --page        or: make page RUN=RUN

It holds the program as it lies in deploy/page/, ONNX Runtime for browsers out of deploy/page/node_modules, and of the student:

    student.onnx     normalised floats (1, 3, S, S) -> logits (1, K), and map (h, w) in 0..1: Grad-CAM of the answered class
    student.json     classes, preprocessing and reject_below of manifest.json; has_map
    version.js       the digest of all files, and their names: what the page keeps for times without a network
"""

import hashlib
import json
import shutil
from pathlib import Path

import torch

from common.errors import UserError
from common.files import read_json, sha256, write_json, write_text
from deploy.manifest import list_files
from deploy.map_network import MapNetwork
from deploy.onnx_file import OUTPUT, export_onnx
from utils.runlog import log

SOURCE = Path(__file__).resolve().parent.parent / "deploy" / "page"
PROGRAM = ("*.html", "*.css", "*.js", "*.svg")
RUNTIME = SOURCE / "node_modules" / "onnxruntime-web"
RUNTIME_FILES = {  # its name there, and in the folder: not every web server knows what .mjs is
    "dist/ort.wasm.bundle.min.mjs": "ort.js",
    "dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
MAP = "map"


def check_runtime():
    """UserError unless ONNX Runtime for browsers is installed, in the version that package.json names."""
    wanted = read_json(SOURCE / "package.json")["dependencies"]["onnxruntime-web"]
    if not all((RUNTIME / name).is_file() for name in ("package.json", *RUNTIME_FILES)):
        raise UserError(f"{RUNTIME}: not there. --page needs Node.js; run: npm ci --prefix {SOURCE}  (or: make page RUN=...)")
    found = read_json(RUNTIME / "package.json")["version"]
    if found != wanted:
        raise UserError(f"{RUNTIME}: is version {found}, the page needs {wanted}. Run: npm ci --prefix {SOURCE}")


def write_page(files, export, tolerance):
    """Write the folder `files.page` and add it to the manifest, from which it takes classes, preprocessing and reject_below.

    files: a `DeployFolder` with its manifest. export: a `recipe.exporting.Export`. Raises ParityError where the page's network
    answers otherwise than PyTorch by more than `tolerance`.
    """
    folder, manifest = files.page, read_json(files.manifest)
    folder.mkdir()
    for path in (path for pattern in PROGRAM for path in SOURCE.glob(pattern)):
        shutil.copyfile(path, folder / path.name)
    for name, new_name in RUNTIME_FILES.items():
        shutil.copyfile(RUNTIME / name, folder / new_name)
    has_map = write_network(export, folder / "student.onnx")
    difference = export.check_on_floats(folder / "student.onnx", tolerance)
    settings = {
        "classes": manifest["classes"],
        "preprocessing": export.taken.preprocessing.as_dict(),
        "reject_below": manifest.get("reject_below", 0.0),
        "has_map": has_map,
    }
    write_json(folder / "student.json", settings)
    write_version(folder)
    list_files(files)
    log.info(f"page: its network's largest difference of probabilities from PyTorch is {difference:.1e}")


def write_network(export, path):
    """The student on floats, one picture at a time, with its class activation map where that can be had; was it?"""
    size = export.taken.preprocessing.image_size
    example = torch.zeros(1, 3, size, size)
    try:
        export_onnx(MapNetwork(export.fused, example), example, path, dynamic_batch=False, outputs=(OUTPUT, MAP))
        return True
    except (UserError, RuntimeError) as error:  # the latter: what torch says of operations without gradient or ONNX form
        log.warning(f"page: goes without class activation maps ({' '.join(str(error).split())[:300]})")
    export_onnx(export.fused, example, path, dynamic_batch=False)
    return False


def write_version(folder):
    """version.js. The page itself is named as visitors do, by its folder."""
    digests = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != "version.js"}
    names = ["./", *(name for name in digests if name not in ("index.html", "service-worker.js"))]
    version = hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:16]
    write_text(folder / "version.js", f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(names, indent=2)};\n")
