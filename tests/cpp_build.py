"""The C++ parts, built once for all tests that need them."""

import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from filelock import FileLock

REPO = Path(__file__).parent.parent
BUILD = REPO / "build" / "cpp"
HEADERS = {
    "nlohmann-json3-dev": "nlohmann/json.hpp", "libjpeg-dev": "jpeglib.h",
    "libpng-dev": "png.h", "libtiff-dev": "*/tiffio.h", "libwebp-dev": "webp/demux.h", "libgif-dev": "gif_lib.h",
    "zlib1g-dev": "zlib.h",
}  # fmt: skip


def missing_tools():
    """The Debian packages that are not there, as words for apt-get."""
    needed = [name for name in ("cmake", "g++") if not shutil.which(name)]
    needed += [package for package, header in HEADERS.items() if not any(Path("/usr/include").glob(header))]
    return " ".join(needed)


@cache
def build_cpp():
    """build/cpp, built; a second call builds what changed. Test processes wait for each other."""
    openvino_dir = Path(importlib.util.find_spec("openvino").origin).parent / "cmake"
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-DOpenVINO_DIR={openvino_dir}", f"-DPython3_EXECUTABLE={sys.executable}"]
    BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILD / "lock"):
        for command in (["-S", REPO / "deploy" / "cpp", "-B", BUILD, *options], ["--build", BUILD, "-j2"]):
            done = subprocess.run(["cmake", *command], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            assert "warning:" not in done.stderr, done.stderr[-3000:]
    return BUILD
