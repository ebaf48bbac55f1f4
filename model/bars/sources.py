"""Dialects: a file of any layout, or a DataFrame, as a table of named cells with the line each row stands in."""

from __future__ import annotations

import bz2
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
import pyarrow.parquet

from model.bars.columns import Levels, Table, did_you_mean
from model.bars.csv_layout import csv_table
from model.bars.faults import Findings, count
from model.errors import BarsError

BINARIES = {
    b"PK": "a damaged zip archive, or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"SQLite": "an SQLite database",
    b"ARROW1": "an Arrow (Feather) file",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x89PNG": "a picture",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"{\\rtf": "a rich text document",
}
BOMS = {
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
ZSTANDARD = b"\x28\xb5\x2f\xfd"
SAVE_AS_CSV = "Save it as 'CSV UTF-8'."


def table_of(source: object, known: Collection[str] = ()) -> tuple[Table, Findings]:
    """Return the cells of a DataFrame, or of a CSV (plain, gzip, bz2, xz, zstd, zip) or Parquet file, and what is wrong with them.

    known: names that the user maps.
    """
    if not isinstance(source, pd.DataFrame) and hasattr(source, "to_pandas"):
        source = source.to_pandas()
    if isinstance(source, pd.DataFrame):
        findings = Findings("the DataFrame")
        return _frame_table(source, findings), findings
    if not isinstance(source, str | Path):
        raise BarsError(
            f"`source` must be a path or a DataFrame, got {type(source).__name__}. Pass read_bars('bars.csv')."
        )
    if source == "":
        raise BarsError("`source` must be the path of a file, got ''. Name a file of bars.")
    findings = Findings(str(source))
    if re.match(r"[a-z][a-z0-9+.-]+://", findings.source):
        findings.refuse("this is an address, not a file. Download it and name the file.")
    data = _unwrapped(_bytes_of(Path(source).expanduser(), findings), findings)
    if data.startswith(b"PAR1"):
        return _frame_table(_parquet(data, findings), findings), findings
    findings.unit = "line"
    return csv_table(_text_of(data, findings), known, findings), findings


def _bytes_of(path: Path, findings: Findings) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        findings.refuse(f"this is a folder. Name a file in it.{_similar_file(path / 'bars.csv')}")
    except FileNotFoundError:
        findings.refuse(f"no such file. Check the path.{_similar_file(path)}")
    except (OSError, ValueError) as error:
        findings.refuse(
            f"cannot be read: {getattr(error, 'strerror', None) or error}. Check the path and its permissions."
        )


def _similar_file(path: Path) -> str:
    return (
        did_you_mean(path.name, sorted(file.name for file in path.parent.iterdir()))
        if path.parent.is_dir()
        else ""
    )


def _unwrapped(data: bytes, findings: Findings) -> bytes:
    """Return the bytes inside gzip, bz2, xz, zstd or a zip of one file; refuse what is empty."""
    openers = {
        b"\x1f\x8b": gzip.decompress,
        b"BZh": bz2.decompress,
        b"\xfd7zXZ": lzma.decompress,
        ZSTANDARD: _decompress_zstd,
    }
    opener = next((opener for magic, opener in openers.items() if data.startswith(magic)), None)
    if opener:
        try:
            inside = opener(data)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            findings.refuse(
                f"the compressed file is damaged or cut off ({error}). Download it again."
            )
        return _unwrapped(inside, findings)
    if data.startswith(b"PK"):
        return _unzipped(data, findings)
    if not data.strip():
        findings.refuse(f"the file is empty ({count(len(data), 'byte')}). Did the download fail?")
    return data


def _decompress_zstd(data: bytes) -> bytes:
    return bytes(pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd").read())


def _unzipped(data: bytes, findings: Findings) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [
                name for name in archive.namelist() if not re.search(r"/$|^__MACOSX|(^|/)\.", name)
            ]
            if any(
                name in ("[Content_Types].xml", "mimetype") or name.startswith(("xl/", "_rels/"))
                for name in names
            ):
                findings.refuse(
                    f"this is an Excel workbook (.xlsx) or another office document, not CSV. {SAVE_AS_CSV}"
                )
            if len(names) == 1:
                return _unwrapped(archive.read(names[0]), findings)
            findings.refuse(
                f"a zip archive of {count(len(names), 'file')} ({', '.join(names[:5])}). Unpack it and name one."
            )
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        if isinstance(error, BarsError):
            raise
        findings.refuse(
            f"this is a damaged zip archive, or an Excel workbook (.xlsx), not CSV ({error}). {SAVE_AS_CSV}"
        )


def _parquet(data: bytes, findings: Findings) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pyarrow.parquet.read_table(io.BytesIO(data)).to_pandas()
        return frame
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        findings.refuse(
            f"the Parquet file is damaged ({str(error).splitlines()[0]}). Write or download it again."
        )


def _frame_table(frame: pd.DataFrame, findings: Findings) -> Table:
    """Return a DataFrame's index levels and columns as cells; a plain numbered index is no column."""
    levels = (
        []
        if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
        else range(frame.index.nlevels)
    )
    names: list[Levels] = [(str(frame.index.names[level] or ""),) for level in levels]
    columns = [pd.Series(frame.index.get_level_values(level)) for level in levels]
    names += [
        tuple(str(part) for part in (name if isinstance(name, tuple) else (name,)))
        for name in frame.columns
    ]
    columns += [
        frame.iloc[:, position].reset_index(drop=True) for position in range(frame.shape[1])
    ]
    if not len(frame):
        findings.refuse("no data rows (0 bars). Did the download fail?")
    return Table(tuple(names), tuple(columns), np.arange(len(frame)), stated=dict(frame.attrs))


def _text_of(data: bytes, findings: Findings) -> str:
    """Decode by the byte-order mark, else as UTF-8 or the Western code page; refuse what is no text."""
    kind = next((kind for magic, kind in BINARIES.items() if data.startswith(magic)), None)
    if kind:
        findings.refuse(f"this is {kind}, not CSV text. {SAVE_AS_CSV}")
    encoding = next(
        (encoding for mark, encoding in BOMS.items() if data.startswith(mark)),
        _unmarked_encoding(data),
    )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        findings.refuse(
            f"not readable as {encoding} text ({error.reason} at byte {error.start}): binary or damaged. {SAVE_AS_CSV}"
        )
    nul = text.find("\0")
    if nul >= 0:
        line = len(re.findall("\r\n|\n|\r", text[:nul])) + 1
        findings.refuse(
            f"NUL bytes in line {line}: the file is damaged (disk full, a crashed program) or binary. "
            "Download it again."
        )
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
    kind = next((kind for kind, pattern in MARKUP.items() if re.match(pattern, start)), None)
    if kind:
        findings.refuse(
            f"this is {kind}, not CSV: {' '.join(start.split())[:60]!r}. "
            "Was it an error message instead of the download?"
        )
