"""Layouts: CSV text of any delimiter, header and width as a table of named cells with the line each row stands in."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from model.bars.columns import Levels, Table, plain_name, recognised
from model.bars.faults import Findings, count

DELIMITERS = "\t;|, "  # the commoner a comma's other uses, the later it is tried
HEAD_LINES = 200
BLANKS = ' \t,;|"\u00a0-+='  # a line of nothing else is a blank one, or a rule
Lines = NDArray[np.int64]  # the physical line of each row
NUMBER = r"[+-]?[$\u20ac\u00a3\u00a5]?\s*[+-]?[0-9][0-9.,' \u00a0]*(?:[eE][+-]?[0-9]+)?[KMBTkmbt%]?|[+-]?\.[0-9]+"
DATE = r"(?=.*[0-9]{2})[0-9A-Za-z]{1,9}[-/., ]+[0-9A-Za-z]{1,9}[-/.,: ]+[0-9].*"
FIELDS_BY_COUNT: dict[int, Levels] = {
    5: ("date", "open", "high", "low", "close"),
    6: ("date", "open", "high", "low", "close", "volume"),
    7: ("date", "time", "open", "high", "low", "close", "volume"),
}
KLINE = (
    "open time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close time",
    "quote volume",
    "trades",
    "taker volume",
    "taker quote volume",
    "ignore",
)


class Layout(NamedTuple):
    """What the first lines show: the delimiter, how many lines stand above the data, and the names of the columns."""

    delimiter: str
    n_above: int
    names: tuple[Levels, ...]
    headerless: str


def csv_table(text: str, known: Collection[str], findings: Findings) -> Table:
    """Return the table of a text; what cannot be cut into cells is a fault, with the lines that it stands in.

    known: names that the user maps, and so may stand in a header.
    """
    lines = re.split("\r\n|\n|\r", text.removeprefix("\ufeff"))
    numbers = [
        number
        for number, line in enumerate(lines, 1)
        if line.strip(BLANKS) and not _is_comment(line)
    ]
    if numbers and re.fullmatch(r'(?i)"?sep=.?"?', lines[numbers[0] - 1].strip()):
        numbers = numbers[1:]
    kept = _unframed([lines[number - 1] for number in numbers])
    layout = _layout(kept, _comment_above(lines, numbers), known, findings)
    body, places = kept[layout.n_above :], np.array(numbers[layout.n_above :], dtype=np.int64)
    if not body:
        findings.refuse("a header but no data rows (0 bars). Did the download fail?")
    body, places = _without_open_quotes(_trimmed(body, layout), places, findings)
    cells = _cells(body, layout)
    if not cells:
        body, places = _of_one_width(body, places, layout, findings)
        cells = _cells(body, layout)
    if not cells:
        findings.refuse(
            "not CSV text, or with line breaks inside quotes. Save it as 'CSV UTF-8', without them."
        )
    return Table(layout.names, cells, places, layout.headerless)


def _comment_above(lines: Sequence[str], numbers: Sequence[int]) -> str:
    """Return the comment right above the data: it may be the header."""
    above = lines[numbers[0] - 2] if numbers and numbers[0] > 1 else ""
    return above.lstrip("#/ ") if _is_comment(above) else ""


def _unframed(lines: list[str]) -> list[str]:
    """Return the lines of a table drawn with bars, "| date | open |", without the outer ones."""
    bare = [line.strip() for line in lines]
    framed = all(len(line) > 2 and line[0] == line[-1] == "|" for line in bare)
    return [line[1:-1] for line in bare] if framed else lines


def _is_comment(line: str) -> bool:
    return line.lstrip(' "').startswith(("#", "//"))


def _fields(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        line = line.strip()
    return [
        field.strip()
        for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    ]


def _delimiter(head: Sequence[str]) -> str:
    """Return the delimiter that cuts most lines into equally many fields."""
    best, widest = ",", 1
    for delimiter in DELIMITERS:
        width, n_lines = Counter(len(_fields(line, delimiter)) for line in head).most_common(1)[0]
        if width >= 5 and n_lines >= 0.7 * len(head):
            return delimiter
        if width > widest and n_lines >= 0.5 * len(head):
            best, widest = delimiter, width
    return best


def _layout(
    kept: Sequence[str], comment: str, known: Collection[str], findings: Findings
) -> Layout:
    """Find the delimiter, the header rows right above the first data line, and the names of the columns."""
    if not kept:
        findings.refuse("no data rows: only blank or comment lines. Did the download fail?")
    head = kept[:HEAD_LINES]
    try:
        delimiter = _delimiter(head)
        rows = [_fields(line, delimiter) for line in head]
    except csv.Error as error:
        findings.refuse(f"not CSV text ({error}). Save it as 'CSV UTF-8'.")
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    n_above = next(
        (n for n, row in enumerate(rows) if len(row) == width and _is_data(row)), len(rows)
    )
    header = _header_rows(rows[:n_above], width, known)
    if not header and comment and recognised(_fields(comment, delimiter)) >= 2:
        header = [_fields(comment, delimiter)]
    if header:
        return Layout(delimiter, n_above, _names(header, width, rows[n_above:]), "")
    if n_above:
        return Layout(delimiter, n_above, _names([rows[n_above - 1]], width, rows[n_above:]), "")
    return Layout(delimiter, 0, tuple((name,) for name in _headerless_names(rows)), kept[0])


def _is_data(row: Sequence[str]) -> bool:
    return any(re.fullmatch(f"{NUMBER}|{DATE}", field.strip("'\"")) for field in row)


def _header_rows(above: Sequence[list[str]], width: int, known: Collection[str]) -> list[list[str]]:
    """Return the rows above the data that name columns, without the notes above them."""
    named = [
        n
        for n, row in enumerate(above)
        if recognised(row) + sum(field in known for field in row) >= 2
    ]
    if not named:
        return []
    width = len(above[named[-1]])
    first = named[0]
    while first > 0 and _is_ticker_row(above[first - 1], width):
        first -= 1
    return [row for row in above[first:] if len(row) == width]


def _is_ticker_row(row: Sequence[str], width: int) -> bool:
    """Return whether a row above the field names can hold tickers: full, and each name over several fields."""
    return len(row) == width and all(row[1:]) and len(set(row[1:])) <= max(1, width // 2)


def _names(
    header: Sequence[Sequence[str]], width: int, rows: Sequence[Sequence[str]]
) -> tuple[Levels, ...]:
    names = list(zip(*header))
    unnamed_index = (
        len(names) == width - 1
        and rows
        and re.match(r"[0-9A-Za-z]+[-/. ]", rows[0][0])
        and not any(
            plain_name(name) in ("date", "datetime", "timestamp", "time")
            for levels in names
            for name in levels
        )
    )
    return tuple([("",), *names]) if unnamed_index else tuple(names)


def _headerless_names(rows: Sequence[list[str]]) -> Levels:
    """Return the names that a file without a header can only have, or numbers, which no later step understands."""
    row, width = rows[0], len(rows[0])
    clock = (
        width > 1 and re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(:[0-9.]+)?|[0-9]{6}", row[1]) is not None
    )
    epoch = re.fullmatch(r"[0-9]{10,19}", row[0]) is not None
    if width == len(KLINE) and epoch and re.fullmatch(r"[0-9]{10,19}", row[6]):
        return KLINE
    if clock and width in (6, 7):
        return FIELDS_BY_COUNT[7][:width]
    if not clock and width in (5, 6):
        return FIELDS_BY_COUNT[width]
    if epoch and width in (7, 8):  # seconds, prices, volume, then a count of trades
        return (*FIELDS_BY_COUNT[6], *("trades", "vwap")[: width - 6])
    return tuple(f"column {number}" for number in range(1, width + 1))


def _trimmed(body: list[str], layout: Layout) -> list[str]:
    """Drop a delimiter at the end of every line that the header lacks; bring runs of blanks to single ones."""
    if layout.delimiter == " ":
        return [re.sub(r"[ \t]+", " ", line.strip()) for line in body]
    extra = len(_fields(body[0], layout.delimiter)) == len(layout.names) + 1
    if extra and all(line.rstrip().endswith(layout.delimiter) for line in body):
        return [line.rstrip()[:-1] for line in body]
    return body


def _without_open_quotes(
    body: list[str], places: Lines, findings: Findings
) -> tuple[list[str], Lines]:
    open_ = np.array([line.count('"') % 2 == 1 for line in body], dtype=bool)
    if open_.any():
        first = int(open_.argmax())
        findings.fault(
            f"{count(int(open_.sum()), 'line')} with a quote that does not close (first line {places[first]}: "
            f"{body[first][:60]!r}). Repair the quotes."
        )
    return _kept(~open_, body, places, findings)


def _of_one_width(
    body: list[str], places: Lines, layout: Layout, findings: Findings
) -> tuple[list[str], Lines]:
    """Keep the lines of as many fields as there are names, and say which are not."""
    widths = np.array([_width(line, layout.delimiter) for line in body], dtype=np.int64)
    wrong = widths != len(layout.names)
    if wrong.any():
        first = int(wrong.argmax())
        findings.fault(
            f"line {places[first]} has {widths[first]} fields but the header has {len(layout.names)} columns "
            f"({count(int(wrong.sum()), 'line')} of other width): {body[first][:60]!r}. "
            "Thousands separators without quotes, a cut or a joined line?"
        )
    return _kept(~wrong, body, places, findings)


def _width(line: str, delimiter: str) -> int:
    try:
        return len(_fields(line, delimiter))
    except csv.Error:  # a field longer than 128 KiB
        return line.count(delimiter) + 1


def _kept(
    rows: NDArray[np.bool_], body: list[str], places: Lines, findings: Findings
) -> tuple[list[str], Lines]:
    """Return the lines that can be read; refuse where most cannot, as the others may be read wrong too."""
    if rows.all():
        return body, places
    findings.n_lost += int((~rows).sum())
    if 2 * rows.sum() < len(rows):
        findings.raise_faults()
    return [line for line, keep in zip(body, rows) if keep], places[rows]


def _cells(body: Sequence[str], layout: Layout) -> tuple[pd.Series, ...]:
    """Cut the lines into cells of text, all lines into as many as there are names; nothing if that cannot be."""
    numbers = [str(number) for number in range(len(layout.names))]
    blocks = max(len(line) for line in body) * 4 + (1 << 20)
    try:
        read = pyarrow.csv.read_csv(
            io.BytesIO("\n".join(body).encode()),
            read_options=pyarrow.csv.ReadOptions(column_names=numbers, block_size=blocks),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=layout.delimiter, ignore_empty_lines=False
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, pyarrow.string())
            ),
        )
    except (pyarrow.ArrowException, UnicodeError):
        return ()
    if read.num_rows != len(body):
        return ()
    return tuple(read.column(position).to_pandas() for position in range(len(numbers)))
