"""Pictures to look at: labels that the teacher contradicts (cleanlab), near-duplicates and poor quality (cleanvision)."""

import contextlib
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from data.contents import is_repeated
from reports.thumbnails import LONGEST, shown

KINDS = ("blurry", "dark", "light", "low_information", "odd_aspect_ratio", "odd_size")
OF_PIXELS = ("blurry", "dark", "light", "low_information")  # the others are of widths and heights, which the index has
MAX_LOOKED_AT = 3_000  # pictures whose pixels are looked at, at a few milliseconds each


def label_issues(labels, probs):
    """[(row, suggested class, is it surely wrong)]: where out-of-fold `probs` (N, K) contradict the `labels` (N,), the worst first.

    Sure is what confident learning is: where such labels are confused more often than the teacher's doubts explain (Northcutt et
    al. 2021, arXiv:1911.00068).
    """
    from cleanlab.filter import find_label_issues  # half a second to import

    def found_by(way):
        probabilities = probs.astype(np.float64)
        return find_label_issues(labels, probabilities, filter_by=way, return_indices_ranked_by="self_confidence", n_jobs=1)

    sure = {*map(int, found_by("prune_by_noise_rate"))}
    return [(int(row), int(probs[row].argmax()), int(row) in sure) for row in found_by("predicted_neq_given")]


def looked_at(total, limit=MAX_LOOKED_AT):
    """int (M,): evenly spread numbers of at most `limit` of `total` pictures."""
    return np.unique(np.linspace(0, total - 1, min(total, limit)).round().astype(int)) if total else np.arange(0)


def quality_issues(dataset, fit, limit=MAX_LOOKED_AT):
    """{kind of KINDS: rows, the worst first}, as cleanvision judges. Sizes are those of the files, pixels those of the cache."""
    from cleanvision.issue_managers.image_property import AspectRatioProperty, SizeProperty

    rows = looked_at(len(dataset), limit)
    issues, _ = _imagelab([_Shown(dataset, row, fit) for row in rows], {kind: {} for kind in OF_PIXELS})
    found = {kind: rows[_worst_first(issues, kind)] for kind in OF_PIXELS}
    width, height = dataset.table["width"], dataset.table["height"]
    ratio, size = np.minimum(width / height, height / width), np.sqrt(width * height)
    for kind, judge, values, threshold in (
        ("odd_aspect_ratio", AspectRatioProperty(), {"aspect_ratio": ratio}, {"threshold": 0.35}),
        ("odd_size", SizeProperty(), {"size": size}, {}),
    ):
        scores = judge.get_scores(pd.DataFrame(values), kind)
        issues = scores.join(judge.mark_issue(scores, kind, **threshold))
        found[kind] = _worst_first(issues, kind)
    return {kind: found[kind].tolist() for kind in KINDS if len(found[kind])}


def near_duplicates(parts, fit, limit=MAX_LOOKED_AT):
    """Groups of pictures of the same content, or else with the same perceptual hash: [[(number of the part, row), ...]].

    parts: `ImageDataset`s; contents are compared of all of them, hashes of at most `limit`.
    """
    contents = pd.concat([part.table["sha256"] for part in parts], ignore_index=True)
    starts = np.cumsum([0, *map(len, parts)])

    def place(i):
        """(number of the part, row) of the picture number `i` of all."""
        part = int(np.searchsorted(starts, i, side="right")) - 1
        return part, int(i - starts[part])

    repeated = contents[is_repeated(contents)]
    copies = [[*map(place, repeated.index[group])] for group in repeated.groupby(repeated).indices.values()]
    chosen = [*map(place, looked_at(len(contents), limit))]
    _, info = _imagelab(
        [_Shown(parts[number], row, fit) for number, row in chosen], {"exact_duplicates": {}, "near_duplicates": {}}
    )
    alike = [[chosen[i] for i in group] for group in (*info["near_duplicates"]["sets"], *info["exact_duplicates"]["sets"])]
    return copies + [group for group in alike if not any(set(group) <= set(others) for others in copies)]


@dataclass(frozen=True)
class _Shown:
    """A picture as torchvision's data sets give them, made when asked for."""

    dataset: object
    row: int
    fit: str

    def __iter__(self):
        yield self[0]

    def __getitem__(self, _):
        picture = Image.fromarray(shown(self.dataset, self.row, self.fit))
        picture.thumbnail((LONGEST, LONGEST))
        return picture


def _imagelab(pictures, issue_types):
    """(table of issues, info) of cleanvision, in silence."""
    from cleanvision import Imagelab

    if not pictures:
        return pd.DataFrame(), {kind: {"sets": []} for kind in issue_types}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        lab = Imagelab(torchvision_dataset=pictures, verbose=False)
        lab.find_issues(issue_types, n_jobs=1, verbose=False)
    return lab.issues, lab.info


def _worst_first(issues, kind):
    """int (M,): positions of the pictures with that issue."""
    if not len(issues):
        return np.arange(0)
    wrong = np.flatnonzero(issues[f"is_{kind}_issue"])
    return wrong[np.argsort(issues[f"{kind}_score"].to_numpy()[wrong], kind="stable")]
