"""CSV text of any layout as a table of named cells, with the line that each row stands in.

The first 200 lines prove the layout: the delimiter cuts most of them into equally many fields, the
data begin at the first line that holds a number or a date, and what names columns above it is the
header. All lines are then cut at once by Arrow; where that fails they are looked at one by one.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from model.bars.faults import Findings, Mask, count
from model.bars.headerless import are_numbers_of_columns, headerless_names, likely_names
from model.bars.names import meaning_of, n_recognised, plain_name
from model.bars.table import Levels, Table

DELIMITERS = "\t;|, "  # the commoner a comma's other uses, the later it is tried
HEAD_LINES = 200
BLANKS = ' \t,;|"\u00a0-+='  # a line of nothing else is a blank one, or a rule
NUMBER = (
    r"[+-]?[$\u20ac\u00a3\u00a5]?\s*[+-]?[0-9][0-9.,' \u00a0]*(?:[eE][+-]?[0-9]+)?[KMBTkmbt%]?"
    r"|[+-]?\.[0-9]+"
)
DATE = r"(?=.*[0-9]{2})[0-9A-Za-z]{1,9}[-/., ]+[0-9A-Za-z]{1,9}[-/.,: ]+[0-9].*"
DATA = f"{NUMBER}|{DATE}"  # what no header holds

# What Yahoo's pages write in the place of a bar: "0.84 Dividend", "4:1 Stock Splits".
EVENTS = ("ividend", "plit", "apital")
EVENT = r"(?i)[0-9]\s*(?:dividend|stock splits?|capital gains?)\W*$"

Lines = NDArray[np.int64]  # the physical line of each row


@dataclass(frozen=True)
class Layout:
    """What the first lines show: delimiter, how many lines stand above the data, and the names."""

    delimiter: str
    n_above: int
    names: tuple[Levels, ...]
    headerless: str = ""  # the first line, where no line names the columns
    likely: Levels = ()  # what the columns may be, where no line names them


def csv_table(text: str, mapped: Collection[str], findings: Findings) -> Table:
    """Return the table of a text.

    What cannot be cut into cells is a fault, with the lines that it stands in. `mapped` are names
    that the user maps, and so may stand in a header.
    """
    findings.unit = "line"
    # Programs of DOS end a text with Ctrl-Z.
    lines = re.split("\r\n|\n|\r", text.removeprefix("\ufeff").rstrip("\x1a"))
    numbers = [
        number
        for number, line in enumerate(lines, 1)
        if line.strip(BLANKS) and not _is_comment(line)
    ]
    if numbers and re.fullmatch(r'(?i)"?sep=.?"?', lines[numbers[0] - 1].strip()):
        numbers = numbers[1:]  # Excel's line that names the delimiter
    if not numbers:
        findings.refuse("no data rows: only blank or comment lines. Did the download fail?")
    body = [lines[number - 1] for number in numbers]
    bare = [line.strip() for line in body]
    if all(len(line) > 2 and line[0] == line[-1] == "|" for line in bare):
        body = [line[1:-1] for line in bare]  # a drawn table, "| date | open |"
    # The comment right above the data may be the header.
    above = lines[numbers[0] - 2] if numbers[0] > 1 else ""
    comment = above.lstrip("#/ ") if _is_comment(above) else ""
    layout = _layout(body[:HEAD_LINES], comment, mapped, findings)
    _note_commented_rows(lines, numbers[layout.n_above :], layout, findings)
    body, places = body[layout.n_above :], np.array(numbers[layout.n_above :], dtype=np.int64)
    if not body:
        findings.refuse("a header but no data rows (0 bars). Did the download fail?")
    body, places = _with_closed_quotes(_trimmed(body, layout), places, findings)
    if any(word in text for word in EVENTS):
        body, places = _without_events(body, places, layout, findings)
    cells = _cells(body, layout)
    if not cells:
        body, places = _of_one_width(body, places, layout, findings)
        cells = _cells(body, layout)
    if not cells:
        findings.refuse(
            "not CSV text, or with line breaks inside quotes. Save it as 'CSV UTF-8', without them."
        )
    return Table(
        layout.names, cells, places, layout.headerless, {}, layout.likely, layout.delimiter
    )


def _is_comment(line: str) -> bool:
    return line.lstrip(' "').startswith(("#", "//"))


def _note_commented_rows(
    lines: Sequence[str], numbers: Sequence[int], layout: Layout, findings: Findings
) -> None:
    """Say which rows of the data are left out because a comment sign stands before them."""
    first = numbers[0] if numbers else len(lines)
    between = np.setdiff1d(np.arange(first, len(lines) + 1), numbers)
    commented = [
        number
        for number in between.tolist()
        if re.match(r"[\s\"]*[#/]+\s*[0-9]", line := lines[number - 1])
        and _width(line, layout.delimiter) == len(layout.names)
    ]
    if commented:
        findings.note(
            f"left out {count(len(commented), 'row')} that a comment sign stands before (first "
            f"line {commented[0]}: {lines[commented[0] - 1][:60]!r})."
        )


def _layout(
    head: Sequence[str], comment: str, mapped: Collection[str], findings: Findings
) -> Layout:
    """Find the delimiter, the header rows right above the first data line, and the names."""
    try:
        delimiter = _delimiter(head)
        rows = [_fields(line, delimiter) for line in head]
    except csv.Error as error:
        findings.refuse(f"not CSV text ({error}). Save it as 'CSV UTF-8'.")
    # Notes above the header are of other widths than the data, or hold neither number nor date.
    width = Counter(map(len, rows)).most_common(1)[0][0]
    data = [number for number, row in enumerate(rows) if len(row) == width and _is_data(row)]
    n_above = data[0] if data else len(rows)
    # A row of another width below the names is one of the data, and told as such.
    if named := _named_rows(rows[:n_above], mapped):
        below = range(named[-1] + 1, n_above)
        n_above = next((number for number in below if _is_data(rows[number])), n_above)
    # Names that pandas lacked and numbered look like data, but name nothing.
    if data and are_numbers_of_columns(rows[n_above]) and rows[n_above + 1 :]:
        names = tuple((name,) for name in rows[n_above])
        likely = likely_names(rows[n_above + 1 :])
        return Layout(delimiter, n_above + 1, names, likely=likely)
    header = _header_rows(rows[:n_above], mapped)
    from_comment = _fields(comment, delimiter)
    if not header and n_recognised(from_comment) >= 2:
        header = [from_comment]
    if not header and n_above:
        header = [rows[n_above - 1]]  # names that nobody knows: what is missing is said later
    if header:
        return Layout(delimiter, n_above, _names(header, width, rows[n_above:]))
    names = tuple((name,) for name in headerless_names(rows))
    return Layout(delimiter, 0, names, head[0], likely_names(rows))


def _delimiter(head: Sequence[str]) -> str:
    """Return the delimiter that cuts most lines into equally many fields.

    The first that finds five, as bars have at least, in most lines is taken; else the widest.
    """
    best, widest = ",", 1
    for delimiter in DELIMITERS:
        widths = Counter(len(_fields(line, delimiter)) for line in head)
        width, n_lines = widths.most_common(1)[0]
        if width >= 5 and n_lines >= 0.7 * len(head):
            return delimiter
        if width > widest and n_lines >= 0.5 * len(head):
            best, widest = delimiter, width
    return best


def _fields(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        line = line.strip()
    row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    return [field.strip() for field in row]


def _is_data(row: Sequence[str]) -> bool:
    return any(re.fullmatch(DATA, field.strip("'\"=")) for field in row)


def _named_rows(above: Sequence[Sequence[str]], mapped: Collection[str]) -> list[int]:
    """Return which rows name two columns or more."""
    return [
        number
        for number, row in enumerate(above)
        if n_recognised(row) + sum(field in mapped for field in row) >= 2
    ]


def _header_rows(above: Sequence[list[str]], mapped: Collection[str]) -> list[list[str]]:
    """Return the rows above the data that name columns, without the notes above them.

    A row of tickers right above the names belongs to them: it is full, and each ticker stands over
    several fields.
    """
    named = _named_rows(above, mapped)
    if not named:
        return []
    # A header may have one name fewer than the data have columns: that of the index.
    first, width = named[0], len(above[named[-1]])
    while first > 0:
        row = above[first - 1]
        if len(row) != width or not all(row[1:]) or len(set(row[1:])) > max(1, width // 2):
            break
        first -= 1
    return [row for row in above[first:] if len(row) == width]


def _names(
    header: Sequence[Sequence[str]], width: int, rows: Sequence[Sequence[str]]
) -> tuple[Levels, ...]:
    """Return the names of each column; one name too few is that of an index, left out.

    A delimiter at the end of the header alone, or of the rows alone, makes no column.
    """
    names = list(zip(*header, strict=True))
    while len(names) > width and not any(names[-1]):
        names.pop()
    unnamed_index = (
        len(names) == width - 1
        and rows
        and re.match(r"[0-9A-Za-z]+[-/. ]", rows[0][0])
        # A first name that nobody knows is the date's where the last cells are all empty.
        and (any(map(meaning_of, names[0])) or any(row[-1] for row in rows if len(row) == width))
        and not any(
            plain_name(name) and meaning_of(name) == "date" for levels in names for name in levels
        )
    )
    return tuple([("",), *names]) if unnamed_index else tuple(names)


def _trimmed(body: list[str], layout: Layout) -> list[str]:
    """Drop a delimiter at the end of every line that the header lacks; make runs of blanks one."""
    if layout.delimiter == " ":
        return [re.sub(r"[ \t]+", " ", line.strip()) for line in body]
    extra = len(_fields(body[0], layout.delimiter)) == len(layout.names) + 1
    if extra and all(line.rstrip().endswith(layout.delimiter) for line in body):
        return [line.rstrip()[:-1] for line in body]
    return body


def _with_closed_quotes(
    body: list[str], places: Lines, findings: Findings
) -> tuple[list[str], Lines]:
    """Keep the lines whose quotes close: an open one would swallow the lines behind it."""
    unclosed = np.array([line.count('"') % 2 == 1 for line in body], dtype=bool)
    if unclosed.any():
        first = int(unclosed.argmax())
        findings.fault(
            f"{count(int(unclosed.sum()), 'line')} with a quote that does not close "
            f"(first line {places[first]}: {body[first][:60]!r}). Repair the quotes."
        )
    return _kept(~unclosed, body, places, findings)


def _without_events(
    body: list[str], places: Lines, layout: Layout, findings: Findings
) -> tuple[list[str], Lines]:
    """Drop the lines of dividends and splits that stand between the bars of Yahoo's tables."""
    bare = [line.rstrip(BLANKS) for line in body]
    events = np.array(
        [bool(re.search(EVENT, line)) and _width(line, layout.delimiter) < 4 for line in bare]
    )
    if not events.any():
        return body, places
    first = int(events.argmax())
    findings.note(
        f"dropped {count(int(events.sum()), 'line')} of dividends or splits, which are no bars "
        f"(first line {places[first]}: {body[first][:60]!r})."
    )
    return [line for line, event in zip(body, events, strict=True) if not event], places[~events]


def _of_one_width(
    body: list[str], places: Lines, layout: Layout, findings: Findings
) -> tuple[list[str], Lines]:
    """Keep the lines of as many fields as there are names, and say which are not."""
    widths = np.array([_width(line, layout.delimiter) for line in body], dtype=np.int64)
    wrong = widths != len(layout.names)
    if wrong.any():
        first = int(wrong.argmax())
        what = "Thousands separators without quotes, a cut or a joined line? Repair it."
        if _are_notes(wrong, widths, body, layout):
            what = "A footer or note, and no bar? Remove what is no row of the table."
        findings.fault(
            f"line {places[first]} has {count(int(widths[first]), 'field')} but the header has "
            f"{len(layout.names)} columns ({count(int(wrong.sum()), 'line')} of other width): "
            f"{body[first][:60]!r}. {what}"
        )
    return _kept(~wrong, body, places, findings)


def _are_notes(wrong: Mask, widths: NDArray[np.int64], body: Sequence[str], layout: Layout) -> bool:
    """Return whether all lines of another width are short ones that do not begin as the rows do."""
    firsts = (line.split(layout.delimiter, 1)[0].strip(" \"'") for line in body)
    begins = [re.sub("[0-9]", "0", first) for first in firsts]
    usual = Counter(begins[row] for row in np.flatnonzero(~wrong)).most_common(1)
    return bool((widths[wrong] < 5).all()) and not any(
        begins[row] == shape for row in np.flatnonzero(wrong) for shape, _ in usual
    )


def _width(line: str, delimiter: str) -> int:
    try:
        return len(_fields(line, delimiter))
    except csv.Error:  # a field longer than 128 KiB
        return line.count(delimiter) + 1


def _kept(
    rows: Mask, body: list[str], places: Lines, findings: Findings
) -> tuple[list[str], Lines]:
    """Return the lines that can be read; refuse where most cannot.

    Then the layout itself is understood wrongly, and what the other lines seem to say is no bar.
    """
    if rows.all():
        return body, places
    findings.n_lost += int((~rows).sum())
    if 2 * rows.sum() < len(rows):
        findings.raise_faults()
    return [line for line, keep in zip(body, rows, strict=True) if keep], places[rows]


def _cells(body: Sequence[str], layout: Layout) -> tuple[pd.Series, ...]:
    """Cut the lines into cells of text, each into as many as there are names.

    Nothing is returned where one line has more or fewer, or where a quote joins several.
    """
    numbers = [str(number) for number in range(len(layout.names))]
    # Arrow cannot cut a line that is longer than one of its blocks.
    block_size = max(map(len, body)) * 4 + (1 << 20)
    try:
        read = pyarrow.csv.read_csv(
            io.BytesIO("\n".join(body).encode()),
            read_options=pyarrow.csv.ReadOptions(column_names=numbers, block_size=block_size),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=layout.delimiter, ignore_empty_lines=False
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, pyarrow.string())
            ),
        )
    except (pyarrow.ArrowException, UnicodeError):
        return ()
    if read.num_rows != len(body):  # then no row is known to stand in the line it is said to
        return ()
    return tuple(column.to_pandas() for column in read.columns)
