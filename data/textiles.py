"""Embedded data: photographs of seven fabrics, drawn by the program, so that everything can be tried without any pictures.

All fabrics share one distribution of colours, light and camera; only the pattern tells them apart. The training part is imbalanced
and a known share of its labels is wrong, so that balanced sampling and out-of-fold labels have work to do; the
validation part is balanced and clean. The same arguments give the same bytes, in whatever order pictures are drawn.

    python -m data.textiles FOLDER
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import exclusive, read_csv, read_json, staged_folder, write_csv, write_json

VERSION = 1  # of the drawings; another number draws an existing folder again


def draw_fabric(name, rng, size=96):
    """A photograph of the fabric `name`, uint8 (size, size, 3) RGB, everything random drawn from `rng`."""
    u, v = _surface(rng, size)
    layers = np.clip(PATTERNS[name](u, v, rng), 0, 1)  # (L, size, size) opacities
    colors = _palette(rng)
    image = np.broadcast_to(colors[0], (size, size, 3))
    for opacity, color in zip(layers, colors[1:], strict=False):
        image = image + opacity[..., None] * (color - image)
    image = image * _weave(u, v, rng)[..., None] * _light(rng, size)[..., None]
    return _camera(image, rng)


def write_textiles(root, *, num_train=700, num_val=210, size=96, wrong_labels=0.08, seed=0):
    """Draw the data set into root/train/<class>/ and root/validation/<class>/, and its truth into root/truth.csv.

    truth.csv: path (below root), label (the folder), true_label. Complete pictures drawn with the same arguments are kept;
    a folder with anything else in it is refused (UserError).
    """
    root = Path(root)
    wanted = {
        "version": VERSION, "num_train": num_train, "num_val": num_val, "size": size, "wrong_labels": wrong_labels, "seed": seed,
    }  # fmt: skip
    if _holds(root, wanted):
        return
    with exclusive(root):  # several processes may want the same pictures at once: one draws, the others find them
        if not _holds(root, wanted):
            with staged_folder(root) as folder:
                _draw_all(folder, wanted)


def true_labels(root, dataset):
    """int64 (N,): what the pictures of `dataset`, the part train/ of those drawn into `root`, show, whatever folder they lie in."""
    truth = read_csv(root / "truth.csv", texts=("path", "label", "true_label")).set_index("path")["true_label"]
    shown = truth.loc[[f"{dataset.root.name}/{path}" for path in dataset.paths]]
    return shown.map({name: k for k, name in enumerate(dataset.classes)}).to_numpy(np.int64)


def _holds(root, wanted):
    """Whether `root` has the pictures drawn with the arguments `wanted`; UserError for a folder of something else."""
    if not root.is_dir() or not any(root.iterdir()):
        return False
    note = root / "textiles.json"
    if not note.is_file():
        raise UserError(f"{root}: holds something else than drawn textiles. Choose an empty or new folder for them.")
    if read_json(note) != wanted:
        drawn = ", ".join(f"{key}={value}" for key, value in read_json(note).items())
        raise UserError(
            f"{root}: holds pictures that were drawn otherwise ({drawn}). Name another folder (data.root), or delete this one."
        )
    return True


def _draw_all(folder, wanted):
    size, seed = wanted["size"], wanted["seed"]
    jobs = _plan("train", _imbalanced_counts(wanted["num_train"]), wanted["wrong_labels"], seed)
    jobs += _plan("validation", _even_counts(wanted["num_val"]), 0, seed)
    for path, _, _ in jobs:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        list(pool.map(lambda job: _draw_file(folder / job[0], job[2], size, seed), jobs))
    write_csv(folder / "truth.csv", pd.DataFrame(jobs, columns=["path", "label", "true_label"]))
    write_json(folder / "textiles.json", wanted)


def _imbalanced_counts(total):
    """Pictures per class, falling from the first to the last to a quarter."""
    shares = np.geomspace(4, 1, len(CLASSES))
    counts = np.floor(total * shares / shares.sum()).astype(int)
    counts[0] += total - counts.sum()
    return counts


def _even_counts(total):
    return np.full(len(CLASSES), total // len(CLASSES))


def _plan(part, counts, wrong_labels, seed):
    """[(path, label, true label)]: exactly round(wrong_labels * N) of them, evenly chosen, lie in another class's folder."""
    rng = np.random.default_rng([seed, len(part)])
    truth = np.repeat(np.arange(len(CLASSES)), counts)
    labels = truth.copy()
    wrong = rng.permutation(len(truth))[: round(wrong_labels * len(truth))]
    labels[wrong] = (truth[wrong] + rng.integers(1, len(CLASSES), len(wrong))) % len(CLASSES)
    return [
        (f"{part}/{CLASSES[a]}/{i:05d}.jpg", CLASSES[a], CLASSES[t]) for i, (a, t) in enumerate(zip(labels, truth, strict=True))
    ]


def _draw_file(path, name, size, seed):
    # Seeded by part and number, not by the order in which threads come to it.
    rng = np.random.default_rng([seed, len(path.parts[-3]), int(path.stem)])
    image = draw_fabric(name, rng, size)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
    path.write_bytes(cv2.imencode(".jpg", image[:, :, ::-1], quality)[1].tobytes())


# Surface, colour, light and camera: the same for every fabric


def _surface(rng, size):
    """Fabric coordinates (u, v) of every pixel, in pattern periods: rotation, scale, perspective and folds."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    depth = 1 + rng.uniform(-0.35, 0.35) * x + rng.uniform(-0.35, 0.35) * y
    x, y = x / depth, y / depth
    angle, scale = np.deg2rad(rng.uniform(-15, 15)), rng.uniform(3, 4.5)
    bend = 0.015 * np.stack([_smooth(rng, size, 4), _smooth(rng, size, 4)])
    u = np.cos(angle) * x - np.sin(angle) * y + bend[0]
    v = np.sin(angle) * x + np.cos(angle) * y + bend[1]
    return scale * u + rng.uniform(0, 100), scale * v + rng.uniform(0, 100)


def _palette(rng):
    """float (4, 3): a ground colour and three others that stand out from it, any hue."""
    hsv = np.stack([rng.uniform(0, 180, 4), rng.uniform(30, 200, 4), rng.uniform(40, 235, 4)], 1)
    contrast = rng.choice([-1, 1]) * rng.uniform(80, 130)
    if not 25 <= hsv[0, 2] + contrast <= 250:
        contrast = -contrast
    hsv[1:, 2] = np.clip(hsv[0, 2] + contrast + rng.uniform(-25, 25, 3), 20, 250)
    return cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0].astype(np.float32)


def _weave(u, v, rng):
    """Brightness of single threads, on every fabric."""
    threads = rng.uniform(14, 22)
    return 1 + rng.uniform(0.02, 0.08) * np.sin(2 * np.pi * threads * u) * np.sin(2 * np.pi * threads * v)


def _light(rng, size):
    """Brightness from a lamp on one side and from the folds' slopes."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    slope = rng.uniform(-0.5, 0.5) * x + rng.uniform(-0.5, 0.5) * y
    return np.clip(rng.uniform(0.8, 1.1) * (1 + slope) * (1 + 0.15 * _smooth(rng, size, 5)), 0.2, 1.6)


def _camera(image, rng):
    """Blur, sensor noise, clipping to uint8."""
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), rng.uniform(0.3, 1.0))
    image = image + rng.normal(0, rng.uniform(1, 8), image.shape)
    return np.clip(image, 0, 255).round().astype(np.uint8)


def _smooth(rng, size, cells):
    """Smooth noise of about unit height, (size, size)."""
    return cv2.resize(rng.standard_normal((cells, cells)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


# Patterns: (u, v) in periods -> opacities (L, size, size) of up to three colours over the ground


def _denim(u, v, rng):
    """Twill: steep fine diagonals, threads of uneven colour."""
    lines = u * 2 + v * 2 + 0.15 * np.sin(9 * v)
    return np.stack([0.5 + 0.5 * np.sin(2 * np.pi * lines), 0.25 * (np.sin(23.7 * u) > 0.3)])


def _stripes(u, v, rng):
    """Parallel bands, a broad one and a narrow one."""
    width, phase = rng.uniform(0.3, 0.55), u % 1
    return np.stack([_band(phase, 0, width), _band(phase, width + 0.12, 0.12)])


def _tartan(u, v, rng):
    """The same sequence of bands in both directions, one showing through the other."""
    width = rng.uniform(0.35, 0.5)
    layers = []
    for start, share, strength in ((0, width, 0.6), (width + 0.2, 0.1, 0.7)):
        layers += [strength * _band((u * 0.8) % 1, start, share), strength * _band((v * 0.8) % 1, start, share)]
    return np.stack([np.maximum(layers[0], layers[1]) * 0.5 + 0.5 * layers[0] * layers[1], layers[2], layers[3]])


def _polka_dots(u, v, rng):
    """Round dots on a staggered grid."""
    row = np.floor(v)
    du, dv = (u + 0.5 * (row % 2)) % 1 - 0.5, v % 1 - 0.5
    return _soft(rng.uniform(0.24, 0.36) - np.hypot(du, dv))[None]


def _houndstooth(u, v, rng):
    """Four dark and four light threads both ways, woven two over two: the broken checks come by themselves."""
    i, j = np.floor(4 * u).astype(int), np.floor(4 * v).astype(int)
    warp, weft = (i // 4) % 2, (j // 4) % 2
    return np.where(((i + j) // 2) % 2 == 0, warp, weft).astype(np.float32)[None]


def _floral(u, v, rng):
    """Five-petalled blossoms with a heart, and a leaf beside each, scattered."""
    du, dv, turn = _scattered(u * 0.7, v * 0.7, rng)
    radius, angle = np.hypot(du, dv), np.arctan2(dv, du) + turn
    petals = _soft(0.2 + 0.13 * np.cos(5 * angle) - radius)
    leaf = _soft(0.1 - np.hypot((du - 0.28) * 0.5, dv + 0.26))
    return np.stack([leaf, petals, _soft(0.09 - radius)])


def _leopard(u, v, rng):
    """Broken dark rings around a tinted middle, scattered."""
    du, dv, turn = _scattered(u, v, rng)
    angle = np.arctan2(dv, du) + turn
    radius = np.hypot(du, dv * 1.2) * (1 + 0.2 * np.sin(3 * angle))
    ring = _soft(0.1 - np.abs(radius - 0.27)) * (np.cos(2 * angle + turn) > -0.6)
    return np.stack([0.5 * _soft(0.2 - radius), ring])


def _scattered(u, v, rng):
    """Offset (du, dv) from the jittered centre of each pixel's cell, and an angle for the cell."""
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    table = rng.uniform(-1, 1, (3, 16, 16))
    jitter_u, jitter_v, turn = table[:, i % 16, j % 16]
    return u - i - 0.5 - 0.12 * jitter_u, v - j - 0.5 - 0.12 * jitter_v, np.pi * turn


def _band(phase, start, width):
    return ((phase >= start) & (phase < start + width)).astype(np.float32)


def _soft(distance):
    """Signed distance (inside positive, in periods) -> opacity with a narrow soft edge."""
    return np.clip(0.5 + distance / 0.06, 0, 1)


PATTERNS = {
    "denim": _denim,
    "floral": _floral,
    "houndstooth": _houndstooth,
    "leopard": _leopard,
    "polka_dots": _polka_dots,
    "stripes": _stripes,
    "tartan": _tartan,
}
CLASSES = tuple(PATTERNS)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="a new or empty folder")
    parser.add_argument("--num-train", type=int, default=700)
    parser.add_argument("--num-val", type=int, default=210)
    parser.add_argument("--size", type=int, default=96, help="pixels (default: %(default)s)")
    parser.add_argument("--wrong-labels", type=float, default=0.08, help="share of the training pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    write_textiles(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
