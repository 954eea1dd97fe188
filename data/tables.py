"""A table as people have it, CSV or Parquet, a part at a time: the cells of some columns as text, with the row of each."""

import csv
from itertools import count, islice
from pathlib import Path

import pandas as pd

from common.errors import UserError, os_user_error
from data.listing import near

PARQUET = (".parquet", ".pq")
ROWS = 20_000  # in memory at a time
csv.field_size_limit(2**31 - 1)  # columns that are not wanted may hold whole pictures


def read_table(file, columns, key, way_out, optional=()):
    """`table_parts` as one DataFrame, numbered from 0, without empty rows."""
    parts = (
        part.astype({name: "str" for name in part.columns if name != "row"})
        for part in table_parts(file, columns, key, way_out, optional)
    )
    table = pd.concat(parts, ignore_index=True)
    return table[(table.drop(columns="row") != "").any(axis=1)].reset_index(drop=True)


def table_parts(file, columns, key, way_out, optional=()):
    """DataFrames of text, in the order of the file: `columns`, {our name: the file's}, and `row`.

    optional: those of our names that may be missing. row: as spreadsheets number them, where a CSV file's first line is row 1; the
    first row of Parquet is row 1. Empty cells are '', and nothing else is taken for one ('NA' is text); whole numbers have no
    decimal point. Raises UserError for a file that cannot be read, with the option `key`, and for missing columns, with `way_out`.
    """
    is_parquet = Path(file).suffix.lower() in PARQUET
    next_row = 1 if is_parquet else 2
    try:
        for part in (_parquet_parts if is_parquet else _csv_parts)(file, {*columns.values()}):
            columns = {ours: theirs for ours, theirs in columns.items() if ours not in optional or theirs in part}
            _check_columns(file, columns, list(part.columns), way_out)
            cells = {name: part[theirs].map(_as_text) for name, theirs in columns.items()}
            yield pd.DataFrame({**cells, "row": range(next_row, next_row + len(part))})
            next_row += len(part)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file ({key}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text. Save the table in UTF-8.") from error
    except Exception as error:  # damaged Parquet ends in errors of many kinds
        if isinstance(error, OSError) and error.errno:
            raise os_user_error(error, file, "read") from error
        kind, reason = "Parquet" if is_parquet else "CSV", " ".join(str(error).split())
        wanted = ",".join(columns.values())
        raise UserError(f"{file}: cannot be read as {kind} ({reason}). It is a table with the columns {wanted}.") from error


def _csv_parts(file, wanted):
    """As `_parquet_parts`."""
    with open(file, encoding="utf-8-sig", newline="") as opened:
        rows = csv.reader(opened, strict=True)
        names = next(rows, None)
        if not names:
            raise ValueError("no columns in its first line")
        yield pd.DataFrame(columns=list(dict.fromkeys(names)))
        places = {name: names.index(name) for name in wanted & {*names}}
        for first in count(2, ROWS):
            part = list(islice(rows, ROWS))
            if not part:
                return
            _check_lengths(file, part, first, len(names))
            cells = {name: [row[k] if k < len(row) else "" for row in part] for name, k in places.items()}
            yield pd.DataFrame(cells, dtype=object)


def _check_lengths(file, rows, first, num_columns):
    """Blank cells behind the last column are none."""
    for number, row in enumerate(rows, first):
        if any(map(str.strip, row[num_columns:])):
            raise UserError(
                f"{file}: row {number} has more cells than the first line has columns: {', '.join(map(repr, row))}. "
                "A cell with a comma in it needs quotes around it."
            )


def _parquet_parts(file, wanted):
    """First all columns without rows, then the rows of those that are wanted: others may hold whole pictures."""
    import pyarrow.parquet  # half a second

    with open(file, "rb") as opened, pyarrow.parquet.ParquetFile(opened) as parquet:
        yield pd.DataFrame(columns=parquet.schema_arrow.names)
        for batch in parquet.iter_batches(ROWS, columns=sorted(wanted & {*parquet.schema_arrow.names})):
            yield pd.DataFrame({name: pd.Series(batch[name].to_pylist(), dtype=object) for name in batch.schema.names})


def _check_columns(file, wanted, there, way_out):
    missing = [f"{name!r}{near(name, there)}" for name in wanted.values() if name not in there]
    if missing:
        if len(there) == 1 and any(sign in there[0] for sign in ";\t|"):
            way_out = f"Save it with commas between the cells. {way_out}"
        raise UserError(f"{file}: its columns are {', '.join(map(repr, there))}, without {' and '.join(missing)}. {way_out}")


def _as_text(cell):
    if isinstance(cell, float):
        if cell != cell:  # nothing, in a row that ends early or a column of numbers
            return ""
        cell = int(cell) if cell.is_integer() else cell
    if isinstance(cell, bytes):
        return cell.decode()
    return "" if cell is None else str(cell)
