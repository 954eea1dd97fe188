"""The pictures of the page in docs/: the demo's page with answers on it, in English and Chinese, light and dark.

make demo && make page RUN=runs/demo && .venv/bin/python tests/page_screenshots.py runs/demo
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from browser_tools import REPO, node
from PIL import Image

from data.textiles import draw_fabric

OUTPUTS = {"en light": "page.png", "zh-CN dark": "page-zh.png"}
FABRICS = ("tartan", "denim")  # new ones, drawn as the demo's are


def main(run):
    page = Path(run, "deploy", "page").resolve()
    with tempfile.TemporaryDirectory() as folder:
        given = [Path(folder, f"{name}.png") for name in FABRICS]
        for path in given:
            Image.fromarray(draw_fabric(path.stem, np.random.default_rng(5), size=240)).save(path)
        outputs = {look: str(Path(folder, name)) for look, name in OUTPUTS.items()}
        plan = {"python": sys.executable, "root": str(page.parent), "page": page.name, "pictures": [*map(str, given)],
                "outputs": outputs, "visits": ["screenshots"]}  # fmt: skip
        Path(folder, "plan.json").write_text(json.dumps(plan))
        found = json.loads(node("page.mjs", Path(folder, "plan.json")))["screenshots"]
        assert "error" not in found, found["error"]
        for path in map(Path, outputs.values()):
            with Image.open(path) as image:  # a palette makes a file a third as large
                image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(REPO / "docs" / path.name, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
