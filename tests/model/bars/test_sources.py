"""Files: compressed or not, in any encoding, Parquet; what is no table of bars is named."""

import bz2
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.feather
import pyarrow.ipc
import pytest

from model.bars.read import read_bars
from tests.helpers.bar_files import DAILY, PRICES, assert_bars, csv_text, refusal, saved

TEXT = csv_text(DAILY)


def zipped(*names: str) -> bytes:
    """Return a zip archive in which each of the names holds the same CSV."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return buffer.getvalue()


def zstandard(data: bytes) -> bytes:
    buffer = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(buffer, "zstd") as stream:
        stream.write(data)
    return bytes(buffer.getvalue().to_pybytes())


def parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


def feather(table: pd.DataFrame, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(table, buffer, **settings)
    return buffer.getvalue()


def arrow_stream(table: pd.DataFrame) -> bytes:
    buffer = pyarrow.BufferOutputStream()
    content = pyarrow.Table.from_pandas(table)
    with pyarrow.ipc.new_stream(buffer, content.schema) as stream:
        stream.write_table(content)
    return bytes(buffer.getvalue().to_pybytes())


ACCEPTED = {
    "gzip": gzip.compress(TEXT.encode()),
    "bz2": bz2.compress(TEXT.encode()),
    "xz": lzma.compress(TEXT.encode()),
    "zip of one file": zipped("DAT_ASCII.csv"),
    "zstd": zstandard(TEXT.encode()),
    "zip of one file and a finder's": zipped(
        "DAT_ASCII.csv", "__MACOSX/._DAT_ASCII.csv", ".DS_Store"
    ),
    "parquet with an index": parquet(DAILY.set_index("date")),
    "parquet with a date column": parquet(DAILY.rename(columns=str.title)),
    "feather": feather(DAILY),
    "feather with an index": feather(DAILY.set_index("date")),
    "feather of zstd": feather(DAILY, compression="zstd"),
    "Arrow's stream": arrow_stream(DAILY),
    "feather in gzip": gzip.compress(feather(DAILY)),
    "parquet in gzip": gzip.compress(parquet(DAILY)),
    "utf-8 with its mark": TEXT.encode("utf-8-sig"),
    "utf-16 with its mark": TEXT.encode("utf-16"),
    "utf-16 without": TEXT.encode("utf-16-le"),
    "utf-16 big-endian": TEXT.encode("utf-16-be"),
    "utf-32": TEXT.encode("utf-32"),
    "a Western code page": csv_text(DAILY.assign(Währung="€")).encode("cp1252"),
    "line ends of Windows": TEXT.replace("\n", "\r\n").encode(),
    "line ends of old Macs": TEXT.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED)
def test_a_container_or_an_encoding_changes_nothing(content: bytes, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, content)), DAILY)


CHINESE = csv_text(DAILY.set_axis(["日期", "开盘", "最高", "最低", "收盘", "成交量"], axis=1))
JAPANESE = csv_text(DAILY.set_axis(["日付", "始値", "高値", "安値", "終値", "出来高"], axis=1))
RUSSIAN = csv_text(DAILY.set_axis(["Дата", "Откр.", "Макс.", "Мин.", "Закр.", "Объём"], axis=1))
POLISH = csv_text(
    DAILY.set_axis(["Data", "Otwarcie", "Najwyższy", "Najniższy", "Zamknięcie", "Wolumen"], axis=1)
)
PAGES = [
    (CHINESE, "gb18030"),
    (CHINESE, "utf-8"),
    (JAPANESE, "shift_jis"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "utf-16"),
    (POLISH, "cp1250"),
]


@pytest.mark.parametrize("text, page", PAGES)
def test_a_code_page_is_proven_by_the_names_of_columns(
    text: str, page: str, tmp_path: Path
) -> None:
    assert_bars(read_bars(saved(tmp_path, text.encode(page))), DAILY)


@pytest.mark.parametrize("page", ["gb18030", "big5", "utf-8"])
def test_a_code_page_is_proven_by_the_names_that_the_user_maps(page: str, tmp_path: Path) -> None:
    names = ["日子", "甲", "乙", "丙", "丁", "戊"]
    text = csv_text(DAILY.set_axis(names, axis=1))
    mapped = dict(zip(names, ("date", *PRICES, "volume"), strict=True))
    path = saved(tmp_path, text.encode(page))
    assert_bars(read_bars(path, columns=mapped), DAILY)


SPLIT = TEXT.index("\n", len(TEXT) // 2) + 1  # at the end of a line, where a cut does not show
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard,
}


@pytest.mark.parametrize("compress", COMPRESSORS.values(), ids=COMPRESSORS)
def test_several_streams_in_one_file_are_read_whole_or_refused(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    first, second = compress(TEXT[:SPLIT].encode()), compress(TEXT[SPLIT:].encode())
    assert_bars(read_bars(saved(tmp_path, first + second)), DAILY)
    spoilt = second[:3] + bytes([second[3] ^ 0xFF]) + second[4:]
    assert "the compressed file is damaged or cut off" in refusal(saved(tmp_path, first + spoilt))


REFUSED = {
    "nothing": (b"", r"empty \(0 bytes\)"),
    "blanks": (b"\n \n\n", r"empty \(4 bytes\)"),
    "cut gzip": (gzip.compress(TEXT.encode())[:-500], "damaged or cut off"),
    "nothing in gzip": (
        gzip.compress(b""),
        r"^[^:]*: the file is empty \(0 bytes\). Did the download fail\?$",
    ),
    "cut zstd": (zstandard(TEXT.encode())[:-200], "damaged or cut off"),
    "7z": (b"7z\xbc\xaf" + bytes(100), "this is a 7z archive"),
    "ods": (zipped("mimetype", "content.xml"), "another office document"),
    "cut parquet": (parquet(DAILY)[:-50], "Parquet file is damaged"),
    "cut feather": (feather(DAILY)[:-50], "Feather file is damaged .* Write or download it again"),
    "zip of two files": (zipped("a.csv", "b.csv"), r"zip archive of 2 files \(a.csv, b.csv\)"),
    "damaged zip": (zipped("a.csv")[:60], "damaged zip archive, or an Excel workbook"),
    "xlsx": (
        zipped("[Content_Types].xml", "xl/workbook.xml"),
        "Excel workbook .* Save it as 'CSV UTF-8'",
    ),
    "xls": (b"\xd0\xcf\x11\xe0" + bytes(100), "old Excel workbook"),
    "pdf": (b"%PDF-1.7\n", "this is a PDF"),
    "pickle": (b"\x80\x04\x95", "Python pickle"),
    "web page": (b"<!DOCTYPE html><html>Too many requests</html>", "web page .*Too many requests"),
    "xml": (b"<?xml version='1.0'?><e/>", "this is XML"),
    "json": (b'{"error": "rate limit"}', "this is JSON.*rate limit"),
    "json list": (b'[{"date": "2015-01-02"}]', "this is JSON"),
    "NUL bytes": (TEXT.encode()[:500] + bytes(64) + TEXT.encode()[600:], r"NUL bytes in line \d+"),
    "noise": (bytes(range(128, 256)) * 4, "binary or damaged"),
}


@pytest.mark.parametrize("content, message", REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = saved(tmp_path, content)
    said = refusal(path)
    assert said.startswith(str(path))
    assert re.search(message, said, re.DOTALL), said


def test_the_line_of_a_nul_byte_is_right(tmp_path: Path) -> None:
    lines = TEXT.split("\n")
    lines[168] = "\0" * 30
    assert "NUL bytes in line 169" in refusal(saved(tmp_path, "\n".join(lines)))


def test_a_missing_file_offers_the_nearest_name(tmp_path: Path) -> None:
    saved(tmp_path, TEXT, "nasdaq.csv")
    assert refusal(tmp_path / "nasdak.csv").endswith(
        "no such file. Check the path. Did you mean 'nasdaq.csv'?"
    )


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "this is a folder. Name a file in it." in refusal(tmp_path)


@pytest.mark.parametrize("address", ["https://example.com/bars.csv", "s3://bucket/bars.parquet"])
def test_an_address_is_refused(address: str) -> None:
    assert (
        refusal(address)
        == f"{address}: this is an address, not a file. Download it and name the file."
    )


def test_an_empty_path_is_refused() -> None:
    assert refusal("") == "`source` must be the path of a file, got ''. Name a file of bars."


def test_an_unreadable_path_is_refused() -> None:
    assert "cannot be read" in refusal("bars\0.csv")


FRAMES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "dates in a column": lambda frame: frame.reset_index(),
    "dates in the index": lambda frame: frame,
    "nameless index": lambda frame: frame.rename_axis(None),
    "title case": lambda frame: frame.rename(columns=str.title),
    "New York": lambda frame: frame.tz_localize("America/New_York"),
    "Tokyo": lambda frame: frame.tz_localize("Asia/Tokyo"),
    "UTC": lambda frame: frame.tz_localize("UTC"),
    "periods": lambda frame: frame.to_period("D"),
    "text": lambda frame: frame.reset_index().astype(str),
    "dates as objects": lambda frame: frame.set_axis(
        pd.Index(list(frame.index.date), dtype=object, name="date")
    ),
    "nullable numbers": lambda frame: frame.convert_dtypes(),
    "ticker above": lambda frame: pd.concat({"AAPL": frame.rename(columns=str.title)}, axis=1),
    "ticker below": lambda frame: pd.concat(
        {"AAPL": frame.rename(columns=str.title)}, axis=1
    ).swaplevel(axis=1),
    "arrow table": pyarrow.Table.from_pandas,
}


@pytest.mark.parametrize("shape", FRAMES.values(), ids=FRAMES)
def test_a_frame_of_any_shape_is_read(shape: Callable[[pd.DataFrame], Any]) -> None:
    assert_bars(read_bars(shape(DAILY.set_index("date"))), DAILY)


@pytest.mark.parametrize(
    "source", [None, {}, DAILY["close"], 3], ids=["None", "dict", "Series", "int"]
)
def test_anything_else_is_refused(source: Any) -> None:
    assert "`source` must be a path or a DataFrame, got" in refusal(source)


def test_an_empty_frame_is_refused() -> None:
    assert "no data rows (0 bars)" in refusal(DAILY.iloc[:0])


def test_the_frame_given_is_left_alone() -> None:
    frame = DAILY.rename(columns=str.title)
    before = frame.copy()
    read_bars(frame)
    pd.testing.assert_frame_equal(frame, before)
