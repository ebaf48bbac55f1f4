"""What a file or frame holds: CSV as text, Parquet and Feather as a frame; others are refused.

A file is known by its first bytes, never by its name. Compressed files (gzip, bz2, xz, zstd, a zip
of one file) are unpacked, one in another too.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet

from model.bars.faults import Findings, count
from model.bars.headerless import are_numbers_of_columns, likely_names
from model.bars.names import n_recognised
from model.bars.table import Levels, Table
from model.errors import BarsError, did_you_mean

CODECS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
BINARIES = {
    b"PK": "a damaged zip archive, or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"SQLite": "an SQLite database",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x89PNG": "a picture",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"{\\rtf": "a rich text document",
}
FRAMES = {
    b"PAR1": ("Parquet", pyarrow.parquet.read_table),
    b"ARROW1": ("Feather", pyarrow.feather.read_table),
    b"FEA1": ("Feather", pyarrow.feather.read_table),
    b"\xff\xff\xff\xff": ("Arrow", lambda file: pyarrow.ipc.open_stream(file).read_all()),
}
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
MARKUP = {
    "a web page (HTML)": r"(?i)<!doctype|<html|<head|<body|<table|<div",
    "XML": r"<\?xml",
    "JSON": r"[{\[]\s*([\"{\[\]}]|-?[0-9])",
}
HIDDEN_IN_ZIP = r"/$|^__MACOSX|(^|/)\."  # folders, and what macOS puts beside the file
OFFICE_PARTS = r"\[Content_Types\].xml$|mimetype$|xl/|_rels/"
CODE_PAGES = ("cp1252", "cp1250", "cp1251", "gb18030", "shift_jis", "euc_kr", "big5")
HEAD_BYTES, HEAD_LINES = 4096, 20  # where the names of columns are looked for
HEAD_ROWS = 200  # of a frame, that may show what columns without names are
SAVE_AS_CSV = "Save it as 'CSV UTF-8'."


def load(source: object, mapped: Collection[str] = ()) -> tuple[str | pd.DataFrame, Findings]:
    """Return the text of a CSV file, or a frame, and the list for what is found wrong with it.

    `mapped` are names of columns that the user maps: they may show how a file is encoded.
    """
    if not isinstance(source, pd.DataFrame) and hasattr(source, "to_pandas"):
        source = source.to_pandas()  # an Arrow table, a polars frame
    if isinstance(source, pd.DataFrame):
        return source, Findings("the DataFrame")
    if not isinstance(source, str | Path):
        raise BarsError(
            f"`source` must be a path or a DataFrame, got {type(source).__name__}. "
            "Pass read_bars('bars.csv')."
        )
    if source == "":
        raise BarsError("`source` must be the path of a file, got ''. Name a file of bars.")
    findings = Findings(str(source))
    if re.match(r"[a-z][a-z0-9+.-]+://", findings.source):
        findings.refuse("this is an address, not a file. Download it and name the file.")
    data = _unpacked(_bytes_of(Path(source).expanduser(), findings), findings)
    for magic, (kind, read_table) in FRAMES.items():
        if data.startswith(magic):
            try:
                return read_table(io.BytesIO(data)).to_pandas(), findings
            except (pyarrow.ArrowException, OSError, ValueError) as error:
                findings.refuse(
                    f"the {kind} file is damaged ({str(error).splitlines()[0]}). "
                    "Write or download it again."
                )
    return _text_of(data, mapped, findings), findings


def _bytes_of(path: Path, findings: Findings) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        problem, folder, name = "this is a folder. Name a file in it.", path, "bars.csv"
    except FileNotFoundError:
        problem, folder, name = "no such file. Check the path.", path.parent, path.name
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        findings.refuse(f"cannot be read: {reason}. Check the path and its permissions.")
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    findings.refuse(f"{problem}{did_you_mean(name, names)}")


def _unpacked(data: bytes, findings: Findings) -> bytes:
    """Return the bytes inside of whatever compressed them; refuse what is empty."""
    for magic, codec in CODECS.items():
        if data.startswith(magic):
            try:
                inside = _decompressed(data, codec)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                findings.refuse(
                    f"the compressed file is damaged or cut off ({error}). Download it again."
                )
            return _unpacked(inside, findings)
    if data.startswith(b"PK"):
        return _unpacked(_unzipped(data, findings), findings)
    if not data.strip():
        findings.refuse(f"the file is empty ({count(len(data), 'byte')}). Did the download fail?")
    return data


def _decompressed(data: bytes, codec: str) -> bytes:
    """Return all that was compressed, or raise an error: a part of a file would look whole.

    Programs that compress on several cores, as pbzip2 does, write one stream behind the other.
    Python's own bz2 and lzma take a damaged second one for waste and drop it without a word.
    """
    if codec == "gzip":
        return gzip.decompress(data)
    if codec != "xz":
        return bytes(pyarrow.CompressedInputStream(pyarrow.BufferReader(data), codec).read())
    inside = []
    while data:
        stream = lzma.LZMADecompressor()
        inside.append(stream.decompress(data))
        if not stream.eof:
            raise EOFError("Compressed data ended before the end-of-stream marker was reached")
        data = stream.unused_data.lstrip(b"\0")  # the format fills up with zeros
    return b"".join(inside)


def _unzipped(data: bytes, findings: Findings) -> bytes:
    """Return the only file of a zip archive; an office document is such an archive too."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not re.search(HIDDEN_IN_ZIP, name)]
            inside = archive.read(names[0]) if len(names) == 1 else b""
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        findings.refuse(
            "this is a damaged zip archive, or an Excel workbook (.xlsx), not CSV "
            f"({error}). {SAVE_AS_CSV}"
        )
    if any(re.match(OFFICE_PARTS, name) for name in names):
        findings.refuse(
            "this is an Excel workbook (.xlsx) or another office document, not CSV. " + SAVE_AS_CSV
        )
    if len(names) != 1:
        findings.refuse(
            f"a zip archive of {count(len(names), 'file')} ({', '.join(names[:5])}). "
            "Unpack it and name one."
        )
    return inside


def _text_of(data: bytes, mapped: Collection[str], findings: Findings) -> str:
    """Decode by the byte-order mark, else by what the bytes prove; refuse what is no text."""
    for magic, kind in BINARIES.items():
        if data.startswith(magic):
            findings.refuse(f"this is {kind}, not CSV text. {SAVE_AS_CSV}")
    encoding = _encoding_of(data, mapped)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        findings.refuse(
            f"not readable as {encoding} text ({error.reason} at byte {error.start}): "
            f"binary or damaged. {SAVE_AS_CSV}"
        )
    # A disk that was full leaves blocks of zeros, which no encoding refuses.
    nul = text.find("\0")
    if nul >= 0:
        line = len(re.findall("\r\n|\n|\r", text[:nul])) + 1
        findings.refuse(
            f"NUL bytes in line {line}: the file is damaged (disk full, a crashed program) or "
            "binary. Download it again."
        )
    # What servers send instead of a file, with the name of the file that was asked for.
    start = text.lstrip("\ufeff \t\r\n")[:200]
    for kind, pattern in MARKUP.items():
        if re.match(pattern, start):
            findings.refuse(
                f"this is {kind}, not CSV: {' '.join(start.split())[:60]!r}. "
                "Was it an error message instead of the download?"
            )
    return text


def _encoding_of(data: bytes, mapped: Collection[str]) -> str:
    """Return the encoding: what a mark states, UTF-16 and UTF-8 by proof, else a code page.

    The page is the one in which a line of names is known, ours or the user's; a file of bars is
    digits with a few letters, too little for a guess by frequencies: a detector (charset-normalizer
    3.5) takes "Volume €" in cp1252 for Japanese, and for 100 MB half a minute. Where no name tells,
    the Western page does no harm: digits, points and commas are the same in all of them.
    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding
    # Of each two bytes of digits in UTF-16 one is 0, always the same one.
    even, odd = data[:4096:2], data[1:4096:2]
    if odd.count(0) > 0.4 * len(data[:4096]) and not even.count(0):
        return "utf-16-le"
    if even.count(0) > 0.4 * len(data[:4096]) and not odd.count(0):
        return "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        head = data[:HEAD_BYTES].splitlines(keepends=True)
        # The last line may be cut off within a letter.
        start = b"".join(head[:-1] or head)
        known = {page: _n_known_names(start, page, mapped) for page in CODE_PAGES}
        return max(known, key=lambda page: known[page])  # the first of equals
    return "utf-8"


def _n_known_names(start: bytes, page: str, mapped: Collection[str]) -> int:
    """Return how many names of columns a line of a text's start holds, read by this page."""
    try:
        lines = start.decode(page).splitlines()
    except UnicodeDecodeError:
        return -1
    rows = [re.split(r"[\t;|,]", line.replace('"', "")) for line in lines[:HEAD_LINES]]
    return max(n_recognised(row) + sum(cell.strip() in mapped for cell in row) for row in rows)


def frame_table(frame: pd.DataFrame, findings: Findings) -> Table:
    """Return a frame's index levels and columns as cells; a plain numbered index is no column."""
    if not len(frame):
        findings.refuse("no data rows (0 bars). Did the download fail?")
    names: list[Levels] = []
    columns = []
    # Dates stand in the index or in a column, and either may have several levels of names.
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.name is not None:
        for level, name in enumerate(frame.index.names):
            names.append((str(name or ""),))
            columns.append(pd.Series(frame.index.get_level_values(level)))
    for position, name in enumerate(frame.columns):
        parts = name if isinstance(name, tuple) else (name,)
        names.append(tuple(map(str, parts)))
        columns.append(frame.iloc[:, position].reset_index(drop=True))
    places = np.arange(len(frame))
    likely: Levels = ()
    heads = [column[:HEAD_ROWS] for column in columns]
    if are_numbers_of_columns([levels[0] for levels in names]):
        likely = likely_names([[str(cell) for cell in row] for row in zip(*heads, strict=True)])
    return Table(tuple(names), tuple(columns), places, "", frame.attrs, likely)
