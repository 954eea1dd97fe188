"""Python and C++ read the same files, see the same pixels, and refuse the same files for the same reasons in spirit."""

import subprocess

import numpy as np
import pytest

from data.decode import UnreadableImage, read_rgb
from tests.cpp_build import build_cpp, missing_tools
from tests.odd_pictures import HEIGHT, WIDTH, write_odd_pictures

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"the C++ parts need: apt-get install {missing_tools()}")
# Colours that lie several pixels apart are put together by libtiff, in versions that round differently.
TOLERANCE = {"ycbcr__red_left.tif": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    files = write_odd_pictures(folder)
    link = folder / "broken_link__error.jpg"
    link.symlink_to("nowhere.jpg")
    return [*files, link, folder]


def by_python(paths, at_least=None):
    """{path: pixels or reason}"""
    answers = {}
    for path in paths:
        try:
            answers[path] = read_rgb(path, at_least=at_least)
        except UnreadableImage as error:
            answers[path] = str(error)
    return answers


def by_cpp(paths, at_least=0):
    """The same by the C++ decoder; nothing may be said on its standard error."""
    done = subprocess.run([build_cpp() / "tests" / "print_pixels", str(at_least), *paths], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    answers, rest = {}, done.stdout
    for path in paths:
        line, _, rest = rest.partition(b"\n")
        if line.startswith(b"error: "):
            answers[path] = line.decode().removeprefix("error: ")
            continue
        width, height = map(int, line.split())
        answers[path] = np.frombuffer(rest, np.uint8, 3 * width * height).reshape(height, width, 3)
        rest = rest[3 * width * height :]
    assert not rest
    return answers


@pytest.fixture(scope="module", params=[None, 20], ids=["own_size", "at_least_20"])
def answers(files, request):
    ours, theirs = by_python(files, request.param), by_cpp(files, request.param or 0)
    return {path.name: (ours[path], theirs[path]) for path in files}


@pytest.mark.parametrize("answers", [20], indirect=True)
def test_jpegs_are_decoded_smaller(answers):
    ours, theirs = answers["baseline__red_left.jpg"]
    assert ours.shape == theirs.shape == (HEIGHT // 2, WIDTH // 2, 3)


def test_the_same_files_are_pictures(answers):
    only_python = {name for name in answers if "__only_python" in name}
    read = [{name for name, pair in answers.items() if isinstance(pair[k], np.ndarray)} for k in (0, 1)]
    assert read[0] - only_python == read[1]
    assert only_python <= read[0]
    assert not any("__error" in name for name in read[1])
    assert len(read[1]) > 200


def test_they_have_the_same_pixels(answers):
    differences = {}
    for name, (ours, theirs) in answers.items():
        if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
            assert ours.shape == theirs.shape, name
            differences[name] = int(np.abs(ours.astype(int) - theirs).max())
    assert {name: value for name, value in differences.items() if value > TOLERANCE.get(name, 0)} == {}


def test_the_reasons_are_the_same_in_spirit(answers):
    """Word for word but for what the codecs say themselves, which stands in brackets."""
    for name, pair in answers.items():
        if all(isinstance(answer, str) for answer in pair) and not name.endswith((".bmp", ".avif", ".heic", ".heif", ".jxl")):
            assert pair[0].partition(" (")[0] == pair[1].partition(" (")[0], name


def test_cpp_names_what_only_python_reads(answers):
    for name, (_, theirs) in answers.items():
        if "__only_python" in name:
            assert "which only Python reads: convert it to JPEG or PNG" in theirs
