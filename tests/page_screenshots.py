"""The pictures of the page in docs/: a run's page with answers on it, in English and Chinese, light and dark.

python tests/page_screenshots.py RUN PICTURE [PICTURE ...]        after: make page RUN=RUN
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from browser_tools import REPO, node
from PIL import Image

OUTPUTS = {"en light": "page.png", "zh-CN dark": "page-zh.png"}
COLOURS = 256  # of the palette, which makes a file a third as large


def main(run, *pictures):
    page = Path(run, "deploy", "page").resolve()
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "plan.json")
        outputs = {look: str(Path(folder, name)) for look, name in OUTPUTS.items()}
        given = [str(Path(picture).resolve()) for picture in pictures]
        plan.write_text(json.dumps({"python": sys.executable, "root": str(page.parent), "page": page.name, "pictures": given,
                                    "outputs": outputs, "visits": ["screenshots"]}))  # fmt: skip
        found = json.loads(node("page.mjs", plan))["screenshots"]
        assert "error" not in found, found["error"]
        for path in map(Path, outputs.values()):
            with Image.open(path) as image:
                small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            small.save(REPO / "docs" / path.name, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
