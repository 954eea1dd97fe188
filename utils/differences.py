"""Settings that should be equal and are not, in words."""

import re


def differences(one, other, *, where=("there", "now")):
    """A line for each key of two dicts of JSON types that has not the same value in both, as one text; '' where all have."""
    changed = [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
    return "\n".join(f"    {key}: {_shown(one.get(key))} {where[0]}, {_shown(other.get(key))} {where[1]}" for key in changed)


def _shown(value):
    """A setting in few words: of a digest, such as that of the pictures, nobody needs all 64 digits to see that it is another."""
    return re.sub(r"'([0-9a-f]{12})[0-9a-f]{52}'", r"\1...", repr(value))
