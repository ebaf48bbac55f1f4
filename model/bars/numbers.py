"""Numbers as files write them: decimal and thousands signs proven from the data, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype, is_string_dtype

from model.bars.faults import Findings, Floats, Mask, count
from model.errors import Setting

MISSING_WORDS = frozenset(
    {
        "",
        "nan",
        "null",
        "none",
        "n/a",
        "#n/a",
        "na",
        "<na>",
        "nat",
        "-",
        "--",
        ".",
        "n.a.",
        "missing",
    }
)
BLANK = r"[ \u00a0\u202f'\u2019_]"  # what groups digits, beside point and comma
MONEY = r"[$\u20ac\u00a3\u00a5]"
PLAIN = (
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|Inf|INF|infinity|Infinity)"
)
SUFFIXES = {"K": 3, "M": 6, "B": 9, "T": 12}  # powers of ten
OTHER = {".": ",", ",": "."}
SIGNED = r"[+-]?[0-9]*[.,][0-9.,]*(?:[eE][+-]?[0-9]+)?"
AMBIGUOUS = r"[+-]?[0-9]{1,3},[0-9]{3}(?:e[0-9]+)?"
UNREAD = " undecided"  # may be a number, in a way that is not decided, with a fault added already; cells have no outer blanks

Numbers = dict[str, Floats]
Reading = Callable[[pd.Series], pd.Series]


def text(cells: pd.Series) -> pd.Series:
    """Return the cells as text without outer blanks and quotes; a missing cell is the empty text."""
    if not (is_string_dtype(cells.dtype) and cells.dtype != object):
        cells = pd.Series(
            [_word(cell) for cell in cells], index=cells.index, dtype="str", name=cells.name
        )
    return cells.fillna("").str.strip(" \t\u00a0\u202f\ufeff'\"")


def _word(cell: object) -> str:
    return "" if cell is None or cell is pd.NA else str(cell)


def is_missing(words: pd.Series) -> Mask:
    """Return which texts say that there is no value."""
    short = (words.str.len() <= 8).to_numpy(dtype=bool)
    missing = np.zeros(len(words), dtype=bool)
    missing[short] = words[short].str.lower().isin(MISSING_WORDS).to_numpy(dtype=bool)
    return missing


def missing_cells(cells: pd.Series) -> Mask:
    """Return which cells hold no value; a column of numbers or dates need not be written out for it."""
    words = is_string_dtype(cells.dtype) or cells.dtype == object
    return is_missing(text(cells)) if words else np.asarray(cells.isna(), dtype=bool)


def read_numbers(
    columns: Mapping[str, pd.Series], places: pd.Series, decimal: str | None, findings: Findings
) -> tuple[Numbers, Mask]:
    """Return the columns as floats, NaN where a cell is missing, and which rows hold a cell that is not read, as a fault says."""
    numbers = {
        name: cells.to_numpy(dtype=np.float64, na_value=np.nan)
        for name, cells in columns.items()
        if is_number(cells)
    }
    words = {name: text(cells) for name, cells in columns.items() if name not in numbers}
    if words and (decimal or not all(_all_plain(cells) for cells in words.values())):
        words = {name: _without_ornament(cells, name) for name, cells in words.items()}
        read = _with_sign(decimal) if decimal else _proven_reading(words, places, findings)
        words = {name: read(cells) for name, cells in words.items()}
    unread = np.zeros(len(places), dtype=bool)
    for name, cells in words.items():
        numbers[name], wrong = _floats(name, cells, columns[name], places, findings)
        unread |= wrong
    return {name: numbers[name] for name in columns}, unread


def is_number(cells: pd.Series) -> bool:
    """Return whether a column holds numbers already, and not words that are to be read as such."""
    return bool(
        is_numeric_dtype(cells.dtype)
        and not is_bool_dtype(cells.dtype)
        and not is_complex_dtype(cells.dtype)
    )


def _all_plain(words: pd.Series) -> bool:
    return bool((words.str.fullmatch(PLAIN).to_numpy(dtype=bool) | is_missing(words)).all())


def _without_ornament(words: pd.Series, name: str) -> pd.Series:
    """Drop currency signs and blanks or apostrophes that group digits; write out a volume's K, M, B or T."""
    words = words.str.replace("\u2212", "-", regex=False)
    if words.str.contains(MONEY).any():
        words = words.str.replace(rf"^([+-]?){MONEY}\s*([0-9.,])", r"\1\2", regex=True)
        words = words.str.replace(rf"([0-9.,])\s*{MONEY}$", r"\1", regex=True)
    grouped = words.str.fullmatch(rf"[+-]?[0-9]{{1,3}}(?:{BLANK}[0-9]{{3}})+(?:[.,][0-9]*)?")
    if grouped.any():
        words = words.where(~grouped, words.str.replace(BLANK, "", regex=True))
    return _written_out(words) if name == "volume" else words


def _written_out(words: pd.Series) -> pd.Series:
    """Return volumes with 1.44B as 1.44e9, and a dash, which is how tables write a zero, as 0."""
    words = words.where(~words.isin(["-", "--"]), "0")
    for suffix, power in SUFFIXES.items():
        if words.str.contains(f"[{suffix}{suffix.lower()}]$").any():
            words = words.str.replace(
                rf"^([0-9.,]+)\s*[{suffix}{suffix.lower()}]$", rf"\1e{power}", regex=True
            )
    return words


def _proven_reading(
    words: Mapping[str, pd.Series], places: pd.Series, findings: Findings
) -> Reading:
    """Return the reading by the decimal sign that the cells prove; if they prove both or none, that is a fault.

    Then what remains certain is read, so that it can be judged: the cells that prove their own sign, or, where all
    digits behind a sign come in threes, these cells as thousands, which changes neither their order nor their sign.
    """
    cells = pd.concat(list(words.values()), ignore_index=True)
    signed = cells[cells.str.contains(",", regex=False) | (cells.str.count(r"\.") > 1)]
    dotted = cells[cells.str.contains(".", regex=False)]
    proof = {sign: _first(pd.concat([signed, dotted]), _decimal_pattern(sign)) for sign in ".,"}
    if proof["."] and proof[","]:
        point, comma = (_cited(proof[sign], words, places, findings) for sign in ".,")
        findings.fault(
            f"the decimal sign is a point in {point} and a comma in {comma}. Export again with one number format."
        )
        return _each_by_its_own
    undecided = "" if any(proof.values()) else _first(signed, AMBIGUOUS)
    if undecided:
        cited = _cited(undecided, words, places, findings)
        findings.fault(
            f"numbers such as {cited} are ambiguous: decimal comma or thousands? Pass ",
            Setting("decimal", ","),
            " or ",
            Setting("decimal", "."),
            ".",
        )
        return _thousands_alone
    return _with_sign("," if proof[","] else ".")


def _with_sign(sign: str) -> Reading:
    return partial(_with_point, sign=sign)


def _each_by_its_own(words: pd.Series) -> pd.Series:
    """Return the numbers that prove their decimal sign, or have none, with a point; all others as not read."""
    proven = {sign: words.str.fullmatch(_decimal_pattern(sign)) for sign in ".,"}
    rest = words.where(~words.str.fullmatch(SIGNED), UNREAD)
    return rest.where(~proven["."], _with_point(words, ".")).where(
        ~proven[","], _with_point(words, ",")
    )


def _thousands_alone(words: pd.Series) -> pd.Series:
    """Return numbers such as 1,234 without their sign; those above 0 that have none, of another scale, as not read."""
    grouped = words.str.fullmatch(AMBIGUOUS)
    return words.where(~words.str.fullmatch(r"\+?[0-9.]*[1-9][0-9.]*"), UNREAD).where(
        ~grouped, _with_point(words, ".")
    )


def _cited(word: str, words: Mapping[str, pd.Series], places: pd.Series, findings: Findings) -> str:
    """Return the word with the line and the column where it first stands."""
    rows = {
        name: np.flatnonzero(cells.eq(word).to_numpy(dtype=bool)) for name, cells in words.items()
    }
    name = min((name for name in rows if len(rows[name])), key=lambda name: int(rows[name][0]))
    return f"{word!r} ({findings.unit} {places.iloc[rows[name][0]]}, column {name!r})"


def _decimal_pattern(sign: str) -> str:
    """Return the pattern of numbers that only this decimal sign explains: not "1.234", which may be a thousand."""
    own, other = rf"\{sign}", rf"\{OTHER[sign]}"
    return (
        rf"[+-]?(?:[0-9]*{own}(?:[0-9]{{0,2}}|[0-9]{{4,}})(?:[eE][+-]?[0-9]+)?"  # 4.76, 4.7602
        rf"|[0-9]{{4,}}{own}[0-9]{{3}}|0{own}[0-9]{{3}}"  # 4760.240, 0.524
        rf"|[0-9]{{1,3}}(?:{other}[0-9]{{2,3}})+{own}[0-9]*"  # 4,760.24
        rf"|[0-9]{{1,3}}(?:{other}[0-9]{{3}}){{2,}}(?:e[0-9]+)?)"
    )  # 1,435,150: the other sign groups


def _first(cells: pd.Series, pattern: str) -> str:
    found = cells[cells.str.fullmatch(pattern)]
    return str(found.iloc[0]) if len(found) else ""


def _with_point(words: pd.Series, sign: str) -> pd.Series:
    """Return numbers with a decimal point and without thousands signs; anything else stays as it is."""
    own, other = rf"\{sign}", rf"\{OTHER[sign]}"
    groups = rf"[0-9]{{1,3}}(?:{other}[0-9]{{2,3}})*{other}[0-9]{{3}}"
    grouped = words.str.fullmatch(rf"[+-]?{groups}(?:{own}[0-9]*)?(?:[eE][+-]?[0-9]+)?")
    words = words.where(~grouped, words.str.replace(OTHER[sign], "", regex=False))
    if sign == ",":
        pointed = words.str.contains(".", regex=False)
        words = words.where(pointed, words.str.replace(",", ".", regex=False)).where(
            ~pointed, "not a number: " + words
        )
    return words


def _floats(
    name: str, words: pd.Series, cells: pd.Series, places: pd.Series, findings: Findings
) -> tuple[Floats, Mask]:
    """Return the words as floats, exactly as Python reads them, and which are not read although they are not missing."""
    plain = words.str.fullmatch(PLAIN).to_numpy(dtype=bool)
    unread = ~plain & ~is_missing(words)
    wrong = unread & words.ne(UNREAD).to_numpy(dtype=bool)
    if wrong.any():
        first = int(wrong.argmax())
        cell = f"{findings.unit} {places.iloc[first]}, {str(cells.iloc[first])!r}"
        findings.fault(
            f"{count(int(wrong.sum()), 'cell')} of column {name!r} not a number (first: {cell}). "
            "Repair the cells; a header or a note inside the data must go."
        )
    numbers = np.full(len(words), np.nan)
    numbers[plain] = words[plain].to_numpy(dtype=object).astype(np.float64)
    return numbers, unread
