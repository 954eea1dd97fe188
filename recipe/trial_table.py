"""What came of trials, setting by setting: accuracy and how sure it is, milliseconds, score, and which are worth choosing from."""

import hashlib

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from common.files import write_text
from recipe.ablation import FP32
from utils.figures import families_for, save_figure
from utils.metrics import contest_score, interval_of_difference

MAX_DRAWN = 100  # combinations in the charts, the best ones
COLORS = {FP32: "tab:blue"}  # of networks, others are orange


def summarise(rows, right, speeds=None, target=162.5):
    """One row for each combination of settings and kind of network, the most accurate first.

    rows: of `Workplace.row`. right: {(setting, ..., network): bool by (seed, path)}, for the difference from the first row, in the
    mean over the seeds, with its 95 % interval. speeds: of `recipe.judging.measure`, by setting and network; with them come the
    contest's score, full marks for speed from `target` pictures a second, and `front`: is no row better in one of accuracy and `ms`
    and as good in the other?
    """
    keys = key_columns(rows)
    groups = rows.groupby(keys, sort=False)
    table = groups["accuracy"].agg(mean="mean", std="std", seeds="count")
    table["minutes"] = groups["minutes"].mean()
    table = table.sort_values("mean", ascending=False, kind="stable")
    differences = [interval_of_difference(right[key], right[table.index[0]]) for key in table.index]
    table[["difference", "low", "high"]] = np.array(differences, float)
    if speeds is not None:
        table = table.join(speeds[["ms", "fps", "mib"]])
        table["score"] = contest_score(table["mean"], table["fps"], target=target)
        table["front"] = _on_front(table["mean"].to_numpy(), table["ms"].to_numpy())
    return table.reset_index()


def read_summary(path):
    """The table of `summarise` that was written to `path`, or the rows that it is of; names stay text, whatever they look like."""
    names = key_columns(pd.read_csv(path, nrows=0))
    return pd.read_csv(path, converters=dict.fromkeys(names, str))


def place_for(folder, rows, table):
    """The folder for `rows` and their `table`: `folder`; where the tables there say more, one below it, so that they are kept."""
    if not _says_more(folder, rows, table):
        return folder
    what = rows[[*key_columns(rows), "seed"]].to_csv() + str("ms" in table)
    return folder / "parts" / hashlib.sha256(what.encode()).hexdigest()[:12]


def _says_more(folder, rows, table):
    """Do the tables in `folder` have trials, networks or speeds that `rows` and `table` have not?"""
    paths = folder / "trials.csv", folder / "table.csv"
    if not all(path.is_file() for path in paths):
        return False
    before, keys = read_summary(paths[0]), [*key_columns(rows), "seed"]
    if [*key_columns(before), "seed"] != keys or not set(_tuples(before, keys)) <= set(_tuples(rows, keys)):
        return True
    return "ms" in read_summary(paths[1]) and "ms" not in table


def _tuples(rows, columns):
    return rows[columns].itertuples(index=False, name=None)


def key_columns(rows):
    """The columns that tell rows of a table of trials apart, but for their seeds."""
    return [*(column for column in rows.columns if column.startswith("axis ")), "network"]


def _on_front(accuracy, ms):
    """bool (N,): those that none is better than in one and at least as good in the other; what was not measured is not on it."""
    better = (accuracy[:, None] >= accuracy) & (ms[:, None] <= ms) & ((accuracy[:, None] > accuracy) | (ms[:, None] < ms))
    return ~better.any(0) & ~np.isnan(ms)


def as_texts(table):
    """(header, rows) of a summary, for people; what was not measured is empty."""
    networks = set(table["network"])
    shown = [column for column in key_columns(table) if column != "network" or networks != {FP32}]
    header = [*shown, "accuracy", "points from the first (95 %)", "seeds"]
    speed = "ms" in table
    header += (["ms", "FPS", "MiB", "score", "front"] if speed else []) + ["minutes each"]
    return header, [_texts(row, shown, speed) for _, row in table.iterrows()]


def _texts(row, shown, speed):
    spread = f" ± {row['std']:.4f}" if row["seeds"] > 1 else ""
    texts = [*(row[column] for column in shown), f"{row['mean']:.4f}{spread}", as_points(*row[["difference", "low", "high"]])]
    texts.append(str(row["seeds"]))
    if speed:
        measured = [f"{row['ms']:.2f}", f"{row['fps']:.0f}", f"{row['mib']:.1f}", f"{row['score']:.4f}"]
        texts += [*([""] * 4 if np.isnan(row["ms"]) else measured), "yes" * bool(row["front"])]
    return [*texts, f"{row['minutes']:.1f}"]


def as_points(difference, low, high):
    """A difference of accuracies and its interval, of `interval_of_difference`, in points; empty where it is not known."""
    return "" if np.isnan(low) else f"{100 * difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def write_markdown(path, table, note):
    """The summary as a Markdown table below `note`."""
    header, rows = as_texts(table)
    coded = sum(column.startswith("axis ") for column in header)
    lines = [note, "", f"| {' | '.join(header)} |", f"| {'--- | ' * len(header)}".rstrip()]
    lines += [f"| {' | '.join([*(f'`{cell}`' for cell in row[:coded]), *row[coded:]])} |" for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def draw(path, rows, table):
    """The best combinations' accuracies: a tick for each seed, the mean with its standard deviation."""
    keys, table = key_columns(rows), table.head(MAX_DRAWN)
    names = [name_of(row) for row in table.to_dict("records")]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(names)), layout="constrained")
    plot = figure.subplots()
    plot.errorbar(table["mean"], range(len(names)), xerr=table["std"].fillna(0), fmt="o", capsize=4)
    places = {key: i for i, key in enumerate(table[keys].itertuples(index=False, name=None))}
    heights = [places.get(key) for key in rows[keys].itertuples(index=False, name=None)]
    drawn = [height is not None for height in heights]
    plot.scatter(rows["accuracy"][drawn], [h for h in heights if h is not None], marker="|", s=120, color="black", zorder=3)
    labels = [name.replace(" ", "\n") for name in names]
    plot.set_yticks(range(len(names)), labels, fontsize=8, parse_math=False, fontfamily=families_for("".join(names)))
    plot.invert_yaxis()
    plot.set_xlabel("validation accuracy")
    if "ms" in table:
        beside = plot.secondary_yaxis("right")
        beside.set_yticks(range(len(names)), [_measured(row) for _, row in table.iterrows()], fontsize=8)
    save_figure(figure, path, dpi=120)


def name_of(row):
    """What tells a row of a summary, {column: value}, from the others, in a line: its settings, and its network if not FP32."""
    settings = [value for column, value in row.items() if column.startswith("axis ")]
    return " ".join([*settings, *([row["network"]] if row["network"] != FP32 else [])])


def _measured(row):
    if np.isnan(row["ms"]):
        return ""
    front = "  front" * bool(row["front"])
    return f"{row['ms']:.1f} ms  {row['fps']:.0f} FPS  {row['mib']:.1f} MiB  score {row['score']:.3f}{front}"


def draw_choice(path, table):
    """Accuracy against milliseconds from file to class, a number for each combination that was measured; the front is a line."""
    table = table[table["ms"].notna()].head(MAX_DRAWN)
    figure = Figure(figsize=(9, max(4.5, 1 + 0.2 * len(table))), layout="constrained")
    plot = figure.subplots()
    front = table[table["front"]].sort_values("ms")
    plot.step(front["ms"], front["mean"], where="post", color="grey", linewidth=1, zorder=1)
    names = [name_of(row) for row in table.to_dict("records")]
    for number, (_, row) in enumerate(table.iterrows(), 1):
        spread = None if np.isnan(row["std"]) else row["std"]
        marker, color = ("o" if row["front"] else "."), COLORS.get(row["network"], "tab:orange")
        plot.errorbar(row["ms"], row["mean"], yerr=spread, fmt=marker, color=color, elinewidth=0.5)
        plot.annotate(str(number), (row["ms"], row["mean"]), xytext=(4, 4), textcoords="offset points", fontsize=8)
    lines = "\n".join(f"{number}  {name}" for number, name in enumerate(names, 1))
    plot.annotate(
        lines, (1.02, 1), xycoords="axes fraction", va="top", fontsize=7, parse_math=False, fontfamily=families_for(lines)
    )  # fmt: skip
    plot.set(xscale="log", xlabel="milliseconds from file to class, one picture at a time", ylabel="validation accuracy")
    plot.xaxis.set_major_formatter(LogFormatter())  # 6, not 6 x 10^0
    plot.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))  # some of them named, up to two decades
    plot.margins(0.1)
    save_figure(figure, path, dpi=120)
