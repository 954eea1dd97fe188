"""C++ resizes to the bytes that OpenCV gives in training, at every size."""

import subprocess

import cv2
import numpy as np
import pytest

from tests.cpp_build import build_cpp, missing_tools

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"the C++ parts need: apt-get install {missing_tools()}")
INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}
SIDES = range(32, 385)


def picture(rows, cols, levels=256, seed=0):
    """Noise; few levels make means of just half a grey level frequent, where the order of additions is seen."""
    return np.random.default_rng(seed).integers(0, levels, (rows, cols, 3), np.uint8)


def assert_same_as_opencv(folder, pixels, sizes, how):
    file = folder / "picture.png"
    cv2.imwrite(str(file), pixels)
    numbers = [str(number) for size in sizes for number in size]
    printed = subprocess.run([build_cpp() / "tests" / "print_resized", file, how, *numbers], capture_output=True, check=True).stdout
    assert len(printed) == sum(3 * rows * cols for rows, cols in sizes)
    place, different = 0, {}
    for rows, cols in sizes:
        ours = np.frombuffer(printed, np.uint8, 3 * rows * cols, place).reshape(rows, cols, 3)
        place += ours.size
        theirs = cv2.resize(pixels, (cols, rows), interpolation=INTERPOLATION[how])
        if (ours != theirs).any():
            different[rows, cols] = int((ours != theirs).sum())
    assert different == {}


@pytest.mark.parametrize("levels", [256, 4])
@pytest.mark.parametrize("shape", [(400, 533), (768, 768), (601, 450)], ids=str)
def test_shrunk_to_squares(tmp_path, shape, levels):
    assert_same_as_opencv(tmp_path, picture(*shape, levels), [(side, side) for side in SIDES], "area")


@pytest.mark.parametrize("shape", [(1000, 40), (200, 70), (3, 200), (1, 1)], ids=str)
def test_stretched_where_one_side_grows(tmp_path, shape):
    assert_same_as_opencv(tmp_path, picture(*shape), [(side, side) for side in SIDES], "area")


def test_shrunk_with_proportions_kept(tmp_path):
    assert_same_as_opencv(tmp_path, picture(400, 533, 16), [(max(1, round(400 * side / 533)), side) for side in SIDES], "area")
    assert_same_as_opencv(tmp_path, picture(3, 500), [(max(1, round(3 * side / 500)), side) for side in SIDES], "area")


def test_by_whole_numbers(tmp_path):
    for rows, cols in [(144, 144), (216, 144), (288, 504), (72, 720), (72, 72)]:
        assert_same_as_opencv(tmp_path, picture(rows, cols), [(72, 72)], "area")


@pytest.mark.parametrize("shape", [(20, 31), (32, 32), (7, 5), (1, 9), (1, 1)], ids=str)
def test_grown(tmp_path, shape):
    assert_same_as_opencv(tmp_path, picture(*shape), [(side, side) for side in SIDES], "linear")
    assert_same_as_opencv(tmp_path, picture(*shape), [(max(shape[0], side // 2), side) for side in SIDES], "linear")
