"""Pictures with their class activation maps, as files beside what is there already."""

import contextlib
import itertools
import os

import cv2

from common.errors import os_user_error
from common.files import check_writable
from data.decode import read_rgb
from deploy.explain import grad_cam, overlay, shrunk
from utils.runlog import log

LONGEST_NAME = 200  # bytes, of a map's file without number and suffix; most disks take 255


class Explainer:
    """Writes pictures with the class activation map of the class that was answered; never over a file that is there.

    student: a `recipe.predictor.CheckpointPredictor`. Raises UserError where nothing can be written to `folder`.
    """

    def __init__(self, student, folder):
        self.folder, self.student = folder, student
        check_writable(folder)

    def write(self, path, max_pixels, class_index):
        """The map of the picture in the file `path`, drawn over it in its own size; a warning where it cannot be written."""
        heat = grad_cam(self.student.model, self.student.network_tensor(self.student.read(path, max_pixels)), class_index)
        pixels = read_rgb(path, max_pixels)
        preprocessing = self.student.preprocessing
        if preprocessing.fit != "stretch":
            pixels = preprocessing.square(pixels)  # the map covers the grey beside the picture too
        picture = overlay(shrunk(pixels), heat, preprocessing.image_size / preprocessing.resize)
        try:
            write_new(self.folder, path.stem, cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes())
        except OSError as error:
            log.warning(f"{as_text(path)}: answered, but without its map. {os_user_error(error, error.filename or self.folder)}")


def write_new(folder, stem, content):
    """Write folder/<stem>.jpg; numbered where a file of that name is there, be it of another process since a moment ago."""
    stem = as_text(stem).encode()[:LONGEST_NAME].decode(errors="ignore")
    for number in itertools.count(1):
        place = folder / (f"{stem}.jpg" if number == 1 else f"{stem}-{number}.jpg")
        try:
            with open(place, "xb") as file:
                file.write(content)
            return
        except FileExistsError:
            continue
        except OSError:
            with contextlib.suppress(OSError):
                place.unlink()  # what there was room for
            raise


def as_text(path):
    """A name need not be UTF-8, tables and messages are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
