"""Values of a config, in nested dicts and KEY=VALUE texts, -> dataclasses: every key, type and range is checked."""

import ast
import csv
import dataclasses
import difflib
import math
import types
from dataclasses import dataclass
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

from common.errors import UserError


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, or above `above` and below `below`; not finite ones are in no range."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value):
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self):
        limits = {"from": self.least, "above": self.above, "to": self.most, "below": self.below}
        return " ".join(f"{word} {limit:,}".replace(",", "_") for word, limit in limits.items() if limit is not None)


WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "None"}


class Text(str):
    """A value as it was typed on the command line, whose type the field decides."""


class _Mismatch(Exception):
    """The value is not of this type; another one of a union may take it."""


def merge_options(values, options):
    """`values` (nested dict of a config file) changed by texts such as 'student.lr=0.002'; UserError for one without '='."""
    merged = _copy(values)
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--cfg-options {option!r}: takes KEY=VALUE, such as student.lr=0.002 (no blanks around the '=').")
        *sections, name = key.strip().split(".")
        place = merged
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}  # such as student.mixing.cutmix=2 where the file names one mixing
            place = place[section]
        place[name] = Text(text)
    return merged


def _copy(values):
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in values.items()}


def build_dataclass(cls, values, prefix=""):
    """An instance of the dataclass `cls` from nested dicts; UserError for an unknown key, a wrong type, a value out of range."""
    hints = get_type_hints(cls, include_extras=True)
    arguments = {}
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0.4)
            hint = f"Did you mean '{prefix}{near[0]}'?" if near else f"Known here: {', '.join(hints)}."
            raise UserError(f"config: unknown key '{prefix}{key}'. {hint}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise UserError(f"config: '{prefix}{key}' is a section and takes dict(...), not {_shown(value)}.")
            arguments[key] = build_dataclass(hints[key], value, f"{prefix}{key}.")
        else:
            arguments[key] = _checked(value, hints[key], f"{prefix}{key}")
    try:
        return cls(**arguments)
    except UserError as error:  # of values that do not go together; it begins with the key
        raise UserError(f"config: {prefix}{error}") from error


def _checked(value, hint, key):
    """`value` as the type `hint` says, within its range; UserError otherwise."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    # A text that may be a number, or the word None, is tried as one first.
    ordered = sorted(options, key=lambda option: option is str) if isinstance(value, Text) else options
    for option in ordered:
        plain, allowed = _without_range(option)
        try:
            converted = _converted(value, plain, key)
        except _Mismatch:
            continue
        if allowed is not None and converted not in allowed:
            raise UserError(
                f"config: {key}={_shown(value)}: must be {'a number' if plain is float else 'a whole number'} {allowed}."
            )
        return converted
    raise UserError(f"config: '{key}' takes {_in_words(options)}, not {_shown(value)}{_type_of(value)}.")


def _without_range(option):
    """(the type, the `Range` of its numbers or None)."""
    return get_args(option) if get_origin(option) is Annotated else (option, None)


def _converted(value, hint, key):
    """`value` as exactly the type `hint`; raises _Mismatch if it is no such value."""
    origin = get_origin(hint) or hint
    if origin is Literal:
        return _literal(value, get_args(hint))
    if origin is tuple:
        return tuple(_checked(item, get_args(hint)[0], key) for item in _items(value))
    if origin is dict:
        if not all(isinstance(name, str) for name in _mapping(value)):
            raise _Mismatch
        return {name: _checked(item, get_args(hint)[1], f"{key}.{name}") for name, item in _mapping(value).items()}
    if isinstance(value, Text):
        return _from_text(value, hint)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is hint:
        return value
    raise _Mismatch


def _literal(value, choices):
    for choice in choices:
        if value == choice:
            return choice
    raise _Mismatch


def _items(value):
    """The items of a list; of a text, '[a,b]' or 'a,b', where an item with commas or blanks at its ends stands in quotes."""
    if not isinstance(value, Text):
        if isinstance(value, list | tuple):
            return value
        raise _Mismatch
    text = value.strip()
    if text in ("None", ""):
        raise _Mismatch
    if text[0] in "[(" and text[-1] in "])":
        text = text[1:-1]
        try:
            return [item if not isinstance(item, str) else Text(item) for item in ast.literal_eval(f"[{text}]")]
        except (SyntaxError, ValueError):
            pass  # words without quotes
    return [Text(item.strip()) for item in next(csv.reader([text], skipinitialspace=True), []) if item.strip()]


def _mapping(value):
    if isinstance(value, dict):
        return value
    if isinstance(value, Text) and value.strip().startswith("{"):
        try:
            return dict(ast.literal_eval(value.strip()))
        except (SyntaxError, ValueError) as error:
            raise _Mismatch from error
    raise _Mismatch


def _from_text(text, hint):
    if hint is str:
        return str(text)
    if hint is type(None):
        if text == "None":
            return None
        raise _Mismatch
    if hint is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise _Mismatch
    try:
        return hint(text)
    except ValueError as error:
        raise _Mismatch from error


def _shown(value):
    return repr(str(value)) if isinstance(value, Text) else repr(value)


def _type_of(value):
    return "" if isinstance(value, Text) else f" ({type(value).__name__})"


def _in_words(options):
    return " or ".join(_in_word(*_without_range(option)) for option in options)


def _in_word(hint, allowed):
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return "a list, each " + _in_word(*_without_range(get_args(hint)[0]))
    if get_origin(hint) is dict:
        return "a dict, each " + _in_word(*_without_range(get_args(hint)[1]))
    return WORDS[hint] + (f" {allowed}" if allowed else "")
