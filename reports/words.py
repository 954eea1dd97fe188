"""The report's words. English texts are their own keys, but for a few names; chinese.json holds the Chinese ones."""

import unicodedata
from pathlib import Path

from common.files import read_json

ENGLISH = {
    "low_information": "low information", "odd_aspect_ratio": "odd proportions", "odd_size": "odd size",
    "usable_cpus": "usable CPUs", "code_version": "code version", "python": "Python",
}  # fmt: skip
LANGUAGES = {"en": "English", "zh": "中文"}


def texts(language):
    """(key, **values) -> the text in that language, `en` or `zh`, its {placeholders} filled; KeyError for an unknown key."""
    chinese = read_json(Path(__file__).with_name("chinese.json"))
    words = chinese if language == "zh" else {key: ENGLISH.get(key, key) for key in chinese}

    def text(key, **values):
        return words[key].format(**values)

    return text


def plain(text):
    """Names as they are, but for control characters and marks that turn the writing direction: these are shown as numbers."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in hidden else c for c in text)
