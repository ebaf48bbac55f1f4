"""Dialects: a file of any layout, or a DataFrame, as a table of named cells with the line each row stands in."""
from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from model.columns import Levels, Table, did_you_mean, plain_name, recognised
from model.faults import BarsError, Findings, count

DELIMITERS = "\t;|, "
HEAD_LINES = 200
BINARIES = {
    b"PK": "a damaged zip archive, or an Excel workbook", b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)", b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file", b"SQLite": "an SQLite database", b"ARROW1": "an Arrow (Feather) file", b"\x80": "a Python pickle",
    b"\x89PNG": "a picture", b"{\\rtf": "a rich text document",
}
BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
SAVE_AS_CSV = "Save it as 'CSV UTF-8'."
CELL = r"[+-]?[$\u20ac\u00a3\u00a5]?\s*[+-]?[0-9][0-9.,' \u00a0]*(?:[eE][+-]?[0-9]+)?[KMBTkmbt%]?|[+-]?\.[0-9]+|(?=.*[0-9]{2})[0-9A-Za-z]{1,9}[-/., ]+[0-9A-Za-z]{1,9}[-/.,: ]+[0-9].*"
FIELDS_BY_COUNT: dict[int, Levels] = {
    5: ("date", "open", "high", "low", "close"),
    6: ("date", "open", "high", "low", "close", "volume"),
    7: ("date", "time", "open", "high", "low", "close", "volume"),
}
KLINE = ("open time", "open", "high", "low", "close", "volume", "close time", "quote volume", "trades", "taker volume", "taker quote volume", "ignore")


class Layout(NamedTuple):
    """What the first lines show: the delimiter, how many lines stand above the data, and the names of the columns."""

    delimiter: str
    n_above: int
    names: tuple[Levels, ...]
    headerless: str


def table_of(source: object, known: Collection[str] = ()) -> Table:
    """Return the cells of a DataFrame, or of a CSV (plain, gzip, bz2, xz, zip) or Parquet file; `known` are names the user maps."""
    if not isinstance(source, pd.DataFrame) and hasattr(source, "to_pandas"):
        source = source.to_pandas()
    if isinstance(source, pd.DataFrame):
        return _frame_table(source, "the DataFrame")
    if not isinstance(source, str | Path):
        raise BarsError(f"`source` must be a path or a DataFrame, got {type(source).__name__}. Pass read_bars('bars.csv').")
    findings = Findings(str(source), "line")
    data = _unwrapped(_bytes_of(Path(source).expanduser(), findings), findings)
    if data.startswith(b"PAR1"):
        return _frame_table(_parquet(data, findings), str(source))
    return _csv_table(_text_of(data, findings), known, findings)


def _bytes_of(path: Path, findings: Findings) -> bytes:
    try:
        if path.is_dir():
            findings.refuse(f"this is a folder. Name a file in it.{_similar_file(path / 'bars.csv')}")
        return path.read_bytes()
    except FileNotFoundError:
        findings.refuse(f"no such file.{_similar_file(path)}")
    except (OSError, ValueError) as error:
        findings.refuse(f"cannot be read: {getattr(error, 'strerror', None) or error}. Check the path and its permissions.")


def _similar_file(path: Path) -> str:
    return did_you_mean(path.name, sorted(file.name for file in path.parent.iterdir())) if path.parent.is_dir() else ""


def _unwrapped(data: bytes, findings: Findings) -> bytes:
    """Return the bytes inside gzip, bz2, xz or a zip of one file; refuse what is empty."""
    openers = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}
    opener = next((opener for magic, opener in openers.items() if data.startswith(magic)), None)
    try:
        if opener:
            return _unwrapped(opener(data), findings)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        findings.refuse(f"the compressed file is damaged or cut off ({error}). Download it again.")
    if data.startswith(b"PK"):
        return _unzipped(data, findings)
    if not data.strip():
        findings.refuse(f"the file is empty ({count(len(data), 'byte')}). Did the download fail?")
    return data


def _unzipped(data: bytes, findings: Findings) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
            if any(name == "[Content_Types].xml" or name.startswith(("xl/", "_rels/")) for name in names):
                findings.refuse(f"this is an Excel workbook (.xlsx), not CSV. {SAVE_AS_CSV}")
            if len(names) == 1:
                return _unwrapped(archive.read(names[0]), findings)
            findings.refuse(f"a zip archive of {count(len(names), 'file')} ({', '.join(names[:5])}). Unpack it and name one.")
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error) as error:
        if isinstance(error, BarsError):
            raise
        findings.refuse(f"this is a damaged zip archive, or an Excel workbook (.xlsx), not CSV ({error}). {SAVE_AS_CSV}")


def _parquet(data: bytes, findings: Findings) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pyarrow.parquet.read_table(io.BytesIO(data)).to_pandas()
        return frame
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        findings.refuse(f"the Parquet file is damaged ({str(error).splitlines()[0]}). Write or download it again.")


def _frame_table(frame: pd.DataFrame, source: str) -> Table:
    """Return a DataFrame's index levels and columns as cells; a plain numbered index is no column."""
    levels = [] if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None else range(frame.index.nlevels)
    names: list[Levels] = [(str(frame.index.names[level] or ""),) for level in levels]
    columns = [pd.Series(frame.index.get_level_values(level)) for level in levels]
    names += [tuple(str(part) for part in (name if isinstance(name, tuple) else (name,))) for name in frame.columns]
    columns += [frame.iloc[:, position].reset_index(drop=True) for position in range(frame.shape[1])]
    findings = Findings(source)
    if not len(frame):
        findings.refuse("no data rows (0 bars). Did the download fail?")
    return Table(source, "row", tuple(names), tuple(columns), np.arange(len(frame)))


def _text_of(data: bytes, findings: Findings) -> str:
    """Decode by the byte-order mark, else as UTF-8 or the Western code page; refuse what is no text."""
    kind = next((kind for magic, kind in BINARIES.items() if data.startswith(magic)), None)
    if kind:
        findings.refuse(f"this is {kind}, not CSV text. {SAVE_AS_CSV}")
    encoding = next((encoding for mark, encoding in BOMS if data.startswith(mark)), _unmarked_encoding(data))
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        findings.refuse(f"not readable as {encoding} text ({error.reason} at byte {error.start}): binary or damaged. {SAVE_AS_CSV}")
    nul = text.find("\0")
    if nul >= 0:
        line = len(re.findall("\r\n|\n|\r", text[:nul])) + 1
        findings.refuse(f"NUL bytes in line {line}: the file is damaged (disk full, a crashed program) or binary, not CSV. Download it again.")
    _refuse_markup(text, findings)
    return text


def _unmarked_encoding(data: bytes) -> str:
    sample = data[:4096]
    if sample[1::2].count(0) > 0.4 * len(sample) and not sample[::2].count(0):
        return "utf-16-le"
    if sample[::2].count(0) > 0.4 * len(sample) and not sample[1::2].count(0):
        return "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _refuse_markup(text: str, findings: Findings) -> None:
    start = text.lstrip("\ufeff \t\r\n")[:200]
    kind = "a web page (HTML)" if re.match(r"(?i)<!doctype|<html|<head|<body|<table|<div", start) else None
    kind = kind or ("XML" if start.startswith("<?xml") else None) or ("JSON" if re.match(r"[{\[]\s*([\"{\[\]}]|-?[0-9])", start) else None)
    if kind:
        findings.refuse(f"this is {kind}, not CSV: {' '.join(start.split())[:60]!r}. Was it an error message instead of the download?")


def _csv_table(text: str, known: Collection[str], findings: Findings) -> Table:
    lines = re.split("\r\n|\n|\r", text.removeprefix("\ufeff"))
    numbers = [number for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip(' "').startswith(("#", "//"))]
    if numbers and re.fullmatch(r'(?i)"?sep=.?"?', lines[numbers[0] - 1].strip()):
        numbers = numbers[1:]
    kept = [lines[number - 1] for number in numbers]
    layout = _layout(kept, _comment_above(lines, numbers), known, findings)
    body, places = kept[layout.n_above:], np.array(numbers[layout.n_above:], dtype=np.int64)
    if not body:
        findings.refuse("a header but no data rows (0 bars). Did the download fail?")
    body = _trimmed(body, layout)
    _refuse_quotes(body, places, findings)
    cells = _cells(body, places, layout, findings)
    return Table(findings.source, "line", layout.names, cells, places, layout.headerless)


def _comment_above(lines: Sequence[str], numbers: Sequence[int]) -> str:
    """Return the comment right above the data: it may be the header."""
    above = lines[numbers[0] - 2] if numbers and numbers[0] > 1 else ""
    return above.lstrip("#/ ") if above.lstrip().startswith(("#", "//")) else ""


def _fields(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        line = line.strip()
    return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _delimiter(head: Sequence[str]) -> str:
    """Return the delimiter that cuts most lines into equally many fields; the commoner a comma's other uses, the later it is tried."""
    best, widest = ",", 1
    for delimiter in DELIMITERS:
        width, n_lines = Counter(len(_fields(line, delimiter)) for line in head).most_common(1)[0]
        if width >= 5 and n_lines >= 0.7 * len(head):
            return delimiter
        if width > widest and n_lines >= 0.5 * len(head):
            best, widest = delimiter, width
    return best


def _layout(kept: Sequence[str], comment: str, known: Collection[str], findings: Findings) -> Layout:
    """Find the delimiter, the header rows right above the first data line, and the names of the columns."""
    if not kept:
        findings.refuse("no data rows: only blank or comment lines. Did the download fail?")
    head = kept[:HEAD_LINES]
    try:
        delimiter = _delimiter(head)
        rows = [_fields(line, delimiter) for line in head]
    except csv.Error as error:
        findings.refuse(f"not CSV text ({error}). {SAVE_AS_CSV}")
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    n_above = next((n for n, row in enumerate(rows) if len(row) == width and _is_data(row)), len(rows))
    header = _header_rows(rows[:n_above], width, known)
    if not header and comment and recognised(_fields(comment, delimiter)) >= 2:
        header = [_fields(comment, delimiter)]
    if header:
        return Layout(delimiter, n_above, _names(header, width, rows[n_above:]), "")
    if n_above:
        return Layout(delimiter, n_above, _names([rows[n_above - 1]], width, rows[n_above:]), "")
    return Layout(delimiter, 0, tuple((name,) for name in _headerless_names(rows)), kept[0])


def _is_data(row: Sequence[str]) -> bool:
    return any(re.fullmatch(CELL, field.strip("'\"")) for field in row)


def _header_rows(above: Sequence[list[str]], width: int, known: Collection[str]) -> list[list[str]]:
    """Return the rows above the data that name columns, without the notes above them."""
    named = [n for n, row in enumerate(above) if recognised(row) + sum(field in known for field in row) >= 2]
    if not named:
        return []
    width = len(above[named[-1]])
    first = named[0]
    while first > 0 and len(above[first - 1]) == width and len(set(above[first - 1][1:])) <= max(1, width // 2) and all(above[first - 1][1:]):
        first -= 1  # a row of tickers above the row of fields
    return [row for row in above[first:] if len(row) == width]


def _names(header: Sequence[Sequence[str]], width: int, rows: Sequence[Sequence[str]]) -> tuple[Levels, ...]:
    names = list(zip(*header))
    unnamed_index = len(names) == width - 1 and rows and re.match(r"[0-9A-Za-z]+[-/. ]", rows[0][0]) and \
        not any(plain_name(name) in ("date", "datetime", "timestamp", "time") for levels in names for name in levels)
    return (tuple([("",), *names]) if unnamed_index else tuple(names))


def _headerless_names(rows: Sequence[list[str]]) -> Levels:
    """Return the names that a file without a header can only have, or numbers, which no later step understands."""
    row, width = rows[0], len(rows[0])
    clock = width > 1 and re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(:[0-9.]+)?|[0-9]{6}", row[1]) is not None
    epoch = re.fullmatch(r"[0-9]{10,19}", row[0]) is not None
    if width == len(KLINE) and epoch and re.fullmatch(r"[0-9]{10,19}", row[6]):
        return KLINE
    if clock and width in (6, 7):
        return FIELDS_BY_COUNT[7][:width]
    if not clock and width in (5, 6):
        return FIELDS_BY_COUNT[width]
    if epoch and width in (7, 8):  # seconds, prices, volume, then a count of trades
        return (*FIELDS_BY_COUNT[6], *("trades", "vwap")[:width - 6])
    return tuple(f"column {number}" for number in range(1, width + 1))


def _trimmed(body: list[str], layout: Layout) -> list[str]:
    """Drop a delimiter at the end of every line that the header lacks; bring runs of blanks to single ones."""
    if layout.delimiter == " ":
        return [re.sub(r"[ \t]+", " ", line.strip()) for line in body]
    extra = len(_fields(body[0], layout.delimiter)) == len(layout.names) + 1
    if extra and all(line.rstrip().endswith(layout.delimiter) for line in body):
        return [line.rstrip()[:-1] for line in body]
    return body


def _refuse_quotes(body: Sequence[str], places: Sequence[int], findings: Findings) -> None:
    open_ = [place for place, line in zip(places, body) if line.count('"') % 2]
    if open_:
        findings.refuse(f"{count(len(open_), 'line')} with a quote that does not close (first line {open_[0]}). Repair the quotes.")


def _cells(body: Sequence[str], places: Sequence[int], layout: Layout, findings: Findings) -> tuple[pd.Series, ...]:
    """Cut the lines into cells of text, all lines into as many as there are names."""
    numbers = [str(number) for number in range(len(layout.names))]
    blocks = max(len(line) for line in body) * 4 + (1 << 20)
    try:
        read = pyarrow.csv.read_csv(
            io.BytesIO("\n".join(body).encode()),
            read_options=pyarrow.csv.ReadOptions(column_names=numbers, block_size=blocks),
            parse_options=pyarrow.csv.ParseOptions(delimiter=layout.delimiter, ignore_empty_lines=False),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(numbers, pyarrow.string()), strings_can_be_null=False))
    except (pyarrow.ArrowException, UnicodeError) as error:
        _refuse_ragged(body, places, layout, findings)
        findings.refuse(f"not CSV text ({str(error).splitlines()[0]}). {SAVE_AS_CSV}")
    if read.num_rows != len(body):
        findings.refuse(f"{len(body)} lines make {read.num_rows} rows: line breaks inside quotes. Export without them.")
    return tuple(read.column(position).to_pandas() for position in range(len(numbers)))


def _refuse_ragged(body: Sequence[str], places: Sequence[int], layout: Layout, findings: Findings) -> None:
    wrong = [(place, line) for place, line in zip(places, body) if len(_fields(line, layout.delimiter)) != len(layout.names)]
    if wrong:
        place, line = wrong[0]
        findings.refuse(f"line {place} has {len(_fields(line, layout.delimiter))} fields but the header has {len(layout.names)} columns "
                        f"({count(len(wrong), 'line')} like it): {line[:60]!r}. Thousands separators without quotes, a cut or a joined line?")
