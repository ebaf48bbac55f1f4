"""Numbers as files write them: decimal and thousands signs proven from the data, never guessed.

All columns of a file are written in one way, so what one cell proves holds for all of them: "4.76"
can only have a decimal point, "1.234,5" only a decimal comma, and "1.234" proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype, is_string_dtype

from model.bars.faults import PRICES, Findings, Floats, Mask, count
from model.bars.fractions import without_fractions
from model.errors import Setting

# fmt: off
MISSING_WORDS = frozenset((
    "", "-", "--", ".", "nan", "null", "none", "n/a", "#n/a", "na", "<na>", "nat", "n.a.", "missing"
))
# fmt: on
LONGEST_MISSING_WORD = max(map(len, MISSING_WORDS))
OUTER_BLANKS = (
    " \t\u00a0\u202f\ufeff'\"="  # ="4.76" is how files keep spreadsheets from changing it
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
POINTED = r"[1-9][0-9]{0,2}\.[0-9]{3}"  # a decimal number, or German thousands
SHORTENED = r"[0-9][.,][0-9]{2}E[+-][0-9]{2,3}"  # the scientific format of spreadsheets
FEWEST_SHORTENED, FEWEST_IN_GROUPS = 30, 20  # cells
# A cell that may be a number, in a way that is not decided, with a fault added already. No cell of
# a file is written so, for the cells have no outer blanks.
UNREAD = " undecided"


class DecimalSign(StrEnum):
    """The decimal sign of a file, as far as its cells prove it."""

    POINT = "."
    COMMA = ","
    BOTH = "some cells prove a point, others a comma"
    UNDECIDED = "all cells can be read in both ways"


def text(cells: pd.Series) -> pd.Series:
    """Return the cells as text without outer blanks and quotes; a missing cell is the empty one."""
    if not is_string_dtype(cells.dtype) or cells.dtype == object:
        words = ["" if cell is None or cell is pd.NA else str(cell) for cell in cells]
        cells = pd.Series(words, index=cells.index, dtype="str", name=cells.name)
    return cells.fillna("").str.strip(OUTER_BLANKS)


def is_missing(words: pd.Series) -> Mask:
    """Return which texts say that there is no value."""
    # Most cells are long numbers: lower case is made of the short ones only.
    short = (words.str.len() <= LONGEST_MISSING_WORD).to_numpy(dtype=bool)
    missing = np.zeros(len(words), dtype=bool)
    missing[short] = words[short].str.lower().isin(MISSING_WORDS).to_numpy(dtype=bool)
    return missing


def missing_cells(cells: pd.Series) -> Mask:
    """Return which cells hold no value; numbers and dates need not be written out for it."""
    words = is_string_dtype(cells.dtype) or cells.dtype == object
    return is_missing(text(cells)) if words else np.asarray(cells.isna(), dtype=bool)


def is_number(cells: pd.Series) -> bool:
    """Return whether a column holds numbers already, and not words that are to be read as such."""
    return bool(
        is_numeric_dtype(cells.dtype)
        and not is_bool_dtype(cells.dtype)
        and not is_complex_dtype(cells.dtype)
    )


def read_numbers(
    columns: Mapping[str, pd.Series], places: pd.Series, decimal: str | None, findings: Findings
) -> tuple[dict[str, Floats], Mask]:
    """Return the columns as floats, NaN where a cell is missing, and which rows are not read.

    A row is not read where one of its cells is no number, or one of several that the cells do not
    decide between; a fault says so. `decimal` is the sign that the user states, which then needs no
    proof.
    """
    numbers: dict[str, Floats] = {}
    unread = np.zeros(len(places), dtype=bool)
    words = {name: text(cells) for name, cells in columns.items() if not is_number(cells)}
    _report_shortened(words, places, findings)
    # Nearly every file writes plain numbers: then nothing has to be proven or rewritten.
    plain = all(
        (cells.str.fullmatch(PLAIN).to_numpy(dtype=bool) | is_missing(cells)).all()
        for cells in words.values()
    )
    if words and (decimal or not plain or _all_in_groups(words)):
        words, doubtful = without_fractions(words, decimal, places, findings)
        words = {name: _without_ornament(cells, name) for name, cells in words.items()}
        sign = DecimalSign(decimal) if decimal else _proven_sign(words, places, findings)
        words = {name: _with_decimal_point(cells, sign) for name, cells in words.items()}
        if doubtful:
            words |= {name: words[name].map(lambda _: UNREAD) for name in words if name != "volume"}
    for name, cells in columns.items():
        if name in words:
            numbers[name], wrong = _floats(words[name], cells, name, places, findings)
            unread |= wrong
        else:
            numbers[name] = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers, unread


def _report_shortened(
    words: Mapping[str, pd.Series], places: pd.Series, findings: Findings
) -> None:
    """Add a fault for prices that a spreadsheet has cut to three digits, as 4.52E+05.

    Programs write as many digits as there are, and not two behind the point in every cell.
    """
    for name, cells in words.items():
        if (
            name in PRICES
            and len(cells) >= FEWEST_SHORTENED
            and cells.str.fullmatch(SHORTENED).all()
        ):
            findings.fault(
                f"column {name!r} has prices of three digits, such as {cells.iloc[0]} "
                f"({findings.unit} {places.iloc[0]}): a spreadsheet shortened them, and the other "
                "digits are lost. Export again, and open the file in no spreadsheet."
            )
            return


def _without_ornament(words: pd.Series, name: str) -> pd.Series:
    """Drop currency signs, and blanks or apostrophes that group digits.

    A volume is written out: 1.44B is 1.44e9, and a dash, which is how tables write a zero, is 0.
    """
    words = words.str.replace("\u2212", "-", regex=False)  # the minus sign of typesetters
    if words.str.contains(MONEY).any():
        words = words.str.replace(rf"^([+-]?){MONEY}\s*([0-9.,])", r"\1\2", regex=True)
        words = words.str.replace(rf"([0-9.,])\s*{MONEY}$", r"\1", regex=True)
    grouped = words.str.fullmatch(rf"[+-]?[0-9]{{1,3}}(?:{BLANK}[0-9]{{3}})+(?:[.,][0-9]*)?")
    if grouped.any():
        words = words.where(~grouped, words.str.replace(BLANK, "", regex=True))
    if name != "volume":
        return words
    words = words.where(~words.isin(["-", "--"]), "0")
    for suffix, power in SUFFIXES.items():
        either_case = f"[{suffix}{suffix.lower()}]$"
        if words.str.contains(either_case).any():
            words = words.str.replace(rf"^([0-9.,]+)\s*{either_case}", rf"\1e{power}", regex=True)
    return words


def _proven_sign(
    words: Mapping[str, pd.Series], places: pd.Series, findings: Findings
) -> DecimalSign:
    """Return the decimal sign that the cells prove; if they prove both or none, that is a fault."""
    # All columns prove together: a whole volume is read by the sign of its prices.
    cells = pd.concat(list(words.values()), ignore_index=True)
    signed = cells[cells.str.contains(",", regex=False) | (cells.str.count(r"\.") > 1)]
    dotted = cells[cells.str.contains(".", regex=False)]
    candidates = pd.concat([signed, dotted])
    point, comma = (_first_match(candidates, _decimal_pattern(sign)) for sign in ".,")
    if point and comma:
        findings.fault(
            f"the decimal sign is a point in {_where_it_stands(point, words, places, findings)} "
            f"and a comma in {_where_it_stands(comma, words, places, findings)}. "
            "Export again with one number format."
        )
        return DecimalSign.BOTH
    # One sign alone in a number, with three digits behind it: 1,234 may be either.
    undecided = "" if point or comma else _first_match(signed, AMBIGUOUS)
    if not (point or comma or undecided) and _all_in_groups(words):
        undecided = _first_match(dotted, POINTED)
    if undecided:
        findings.fault(
            f"numbers such as {_where_it_stands(undecided, words, places, findings)} "
            "are ambiguous: decimal comma or thousands? Pass ",
            Setting("decimal", ","),
            " or ",
            Setting("decimal", "."),
            ".",
        )
        return DecimalSign.UNDECIDED
    return DecimalSign.COMMA if comma else DecimalSign.POINT


def _all_in_groups(words: Mapping[str, pd.Series]) -> bool:
    """Return whether prices and volumes alike are written as 12.345, or have no sign at all.

    A volume of three decimals in every row is as likely one of thousands, and so are prices then.
    Prices such as 1.004 beside 998 are, too: one with a zero less at its end, 1.01, never stands
    there.
    """
    volume = words.get("volume", pd.Series(dtype="str"))
    traded = volume[~volume.str.fullmatch(r"0*\.?0*")]
    if not len(traded) or not traded.iloc[:20].str.fullmatch(POINTED).all():
        words = {name: cells for name, cells in words.items() if name in PRICES}
        cells = pd.concat(list(words.values())) if words else traded
        whole = cells.str.fullmatch(r"[1-9][0-9]{2}").sum()
        if min(whole, cells.str.fullmatch(POINTED).sum()) < FEWEST_IN_GROUPS:
            return False
    return all(
        cells.str.fullmatch(rf"{POINTED}|[0-9]{{1,3}}|0\.0*|").all() for cells in words.values()
    )


def _decimal_pattern(sign: str) -> str:
    """Return the pattern of numbers that only this decimal sign explains, unlike "1.234"."""
    own, other = rf"\{sign}", rf"\{OTHER[sign]}"
    few_or_many = rf"[0-9]*{own}(?:[0-9]{{0,2}}|[0-9]{{4,}})(?:[eE][+-]?[0-9]+)?"  # 4.76, 4.7602
    long_or_zero = rf"[0-9]{{4,}}{own}[0-9]{{3}}|0{own}[0-9]{{3}}"  # 4760.240, 0.524
    grouped = rf"[0-9]{{1,3}}(?:{other}[0-9]{{2,3}})+{own}[0-9]*"  # 4,760.24
    groups_alone = rf"[0-9]{{1,3}}(?:{other}[0-9]{{3}}){{2,}}(?:e[0-9]+)?"  # 1,435,150
    return f"[+-]?(?:{few_or_many}|{long_or_zero}|{grouped}|{groups_alone})"


def _first_match(cells: pd.Series, pattern: str) -> str:
    found = cells[cells.str.fullmatch(pattern)]
    return str(found.iloc[0]) if len(found) else ""


def _where_it_stands(
    word: str, words: Mapping[str, pd.Series], places: pd.Series, findings: Findings
) -> str:
    """Return the word with the line and the column where it first stands."""
    found = {name: np.flatnonzero(cells.eq(word)) for name, cells in words.items()}
    first = {name: int(rows[0]) for name, rows in found.items() if len(rows)}
    name = min(first, key=lambda name: first[name])
    return f"{word!r} ({findings.unit} {places.iloc[first[name]]}, column {name!r})"


def _with_decimal_point(words: pd.Series, sign: DecimalSign) -> pd.Series:
    """Return numbers with a decimal point and without thousands signs.

    Anything else stays as it is, to be refused later. Where the sign is in doubt, what is
    certain is read nevertheless, so that it can be judged too.
    """
    if sign is DecimalSign.BOTH:
        # Numbers that prove their own sign, or have none, are read.
        rest = words.where(~words.str.fullmatch(SIGNED), UNREAD)
        for own in ".,":
            proven = words.str.fullmatch(_decimal_pattern(own))
            rest = rest.where(~proven, _with_sign(words, own))
        return rest
    if sign is DecimalSign.UNDECIDED:
        # Every sign has three digits behind it. Read as thousands, these numbers keep their order
        # and their own sign; those above 0 that have none are of another scale, and not read.
        rest = words.where(~words.str.fullmatch(r"\+?[0-9.]*[1-9][0-9.]*"), UNREAD)
        return rest.where(~words.str.fullmatch(AMBIGUOUS), _with_sign(words, "."))
    return _with_sign(words, sign)


def _with_sign(words: pd.Series, sign: str) -> pd.Series:
    own, other = rf"\{sign}", rf"\{OTHER[sign]}"
    groups = rf"[0-9]{{1,3}}(?:{other}[0-9]{{2,3}})*{other}[0-9]{{3}}"  # 1,234 and Indian 12,34,567
    grouped = words.str.fullmatch(rf"[+-]?{groups}(?:{own}[0-9]*)?(?:[eE][+-]?[0-9]+)?")
    words = words.where(~grouped, words.str.replace(OTHER[sign], "", regex=False))
    if sign == ",":
        # A point that groups no digits must not become the decimal point that Python reads.
        pointed = words.str.contains(".", regex=False)
        words = words.where(pointed, words.str.replace(",", ".", regex=False))
        words = words.where(~pointed, "not a number: " + words)
    return words


def _floats(
    words: pd.Series, cells: pd.Series, name: str, places: pd.Series, findings: Findings
) -> tuple[Floats, Mask]:
    """Return the words as floats, exactly as Python reads them, and which are not read.

    A word that means a missing value is NaN, and counts as read.
    """
    plain = words.str.fullmatch(PLAIN).to_numpy(dtype=bool)
    unread = ~plain & ~is_missing(words)
    wrong = unread & words.ne(UNREAD).to_numpy(dtype=bool)
    if wrong.any():
        first = int(wrong.argmax())
        findings.fault(
            f"{count(int(wrong.sum()), 'cell')} of column {name!r} not a number (first: "
            f"{findings.unit} {places.iloc[first]}, {str(cells.iloc[first])!r}). "
            "Repair the cells; a header or a note inside the data must go."
        )
    numbers = np.full(len(words), np.nan)
    numbers[plain] = words[plain].to_numpy(dtype=object).astype(np.float64)
    return numbers, unread
