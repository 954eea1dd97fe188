"""The picture of a confusion matrix: what it counts, how large it gets, and which characters its names may have."""

import warnings

import cv2
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from utils.figures import families_for
from utils.metrics import agreement, confusion_figure, confusion_matrix, draw_confusion_matrix, kl_divergence


def texts(figure):
    """All texts in the picture: numbers in cells, then names of rows and of columns."""
    (plot,) = figure.axes
    return [text.get_text() for text in (*plot.texts, *plot.get_yticklabels(), *plot.get_xticklabels())]


def test_rows_are_true_classes_and_columns_what_they_were_taken_for():
    probs = np.float32([[0.1, 0.7, 0.2], [0.9, 0.1, 0.0], [0.0, 0.8, 0.2], [0.2, 0.2, 0.6]])
    counts = confusion_matrix(probs, [1, 0, 0, 2], 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert texts(confusion_figure(counts, ["a", "b", "c"])) == [*"110010001", *"abcabc"]


@pytest.mark.parametrize("num_classes", [2, 40, 41, 200, 500])
def test_size_and_number_of_texts_are_bounded(num_classes):
    figure = confusion_figure(np.eye(num_classes, dtype=int), [f"class {k}" for k in range(num_classes)])
    assert max(figure.get_size_inches()) <= 16
    assert len(texts(figure)) <= 40 * 40 + 2 * 120
    assert ("1" in texts(figure)) == (num_classes <= 40)  # a number in a cell only where it fits


def test_five_hundred_classes_are_drawn(tmp_path):
    labels = np.arange(500).repeat(2)
    draw_confusion_matrix(tmp_path / "confusion.png", np.eye(500)[labels], labels, [f"class {k}" for k in range(500)])
    picture = cv2.imread(str(tmp_path / "confusion.png"))
    assert max(picture.shape) <= 1600
    bright = (picture.max(2) > 200) & (picture.min(2) < 60)  # yellow: all pictures of a class were recognised
    rows, columns = np.nonzero(bright)
    assert np.corrcoef(rows, columns)[0, 1] > 0.99  # along the diagonal


@pytest.mark.parametrize("name", ["$$", "$x", r"a$\frac$b", "a_b^c", "%d", "", "x" * 300])
def test_names_are_drawn_as_they_are(tmp_path, name):
    draw_confusion_matrix(tmp_path / "confusion.png", np.eye(2), [0, 1], [name, "b"])
    written = texts(confusion_figure(np.eye(2, dtype=int), [name, "b"]))[4]
    assert written == name if len(name) <= 30 else written == name[:29] + "…"


@pytest.fixture
def machine_fonts(tmp_path, monkeypatch):
    """path: a font with two Chinese characters is all that the machine has."""
    glyph = TTGlyphPen(None)
    glyph.moveTo((0, 0))
    for corner in ((0, 500), (500, 500), (500, 0)):
        glyph.lineTo(corner)
    glyph.closePath()
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", "skirt", "coat"])
    font.setupCharacterMap({ord("裙"): "skirt", ord("衣"): "coat"})
    font.setupGlyf(dict.fromkeys([".notdef", "skirt", "coat"], glyph.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys([".notdef", "skirt", "coat"], (600, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Two Characters", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    (tmp_path / "fonts").mkdir()
    path = str(tmp_path / "fonts" / "two.ttf")
    font.save(path)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(tmp_path / "no_font.ttf"), path])
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    return path


def test_chinese_names_are_drawn_with_a_font_that_has_them(machine_fonts, said):
    assert families_for("skirt") == ["DejaVu Sans"]
    assert families_for("skirt 裙") == ["DejaVu Sans", "Two Characters"]
    figure = confusion_figure(np.eye(2, dtype=int), ["裙", "衣 coat"])
    with warnings.catch_warnings(action="error"):  # matplotlib warns of every box it draws
        figure.canvas.draw()
    assert said.text == ""


def test_characters_that_no_font_has_are_told_once(machine_fonts, said, tmp_path, recwarn):
    draw_confusion_matrix(tmp_path / "confusion.png", np.eye(2), [0, 1], ["裙", "袖"])
    assert said.text.count("\n") == 1
    assert "(袖), they are drawn as boxes" in said.text
    assert not recwarn.list


def test_likeness_of_two_tables():
    a, b = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]), np.array([[0.6, 0.4], [0.5, 0.5], [0.8, 0.2]])
    assert agreement(a, b) == pytest.approx(2 / 3)
    expected = (0.9 * np.log(0.9 / 0.6) + 0.1 * np.log(0.1 / 0.4) + 0.2 * np.log(0.2 / 0.8) + 0.8 * np.log(0.8 / 0.2)) / 3
    assert kl_divergence(a, b) == pytest.approx(expected)
    assert kl_divergence(a, a) == 0
    assert np.isfinite(kl_divergence(np.eye(2), np.eye(2)[::-1]))
