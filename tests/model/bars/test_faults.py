"""Faults: the rules of one bar and of many, and messages that list every problem at once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.bars.faults import BAR_RULES, Findings, bar_faults, count
from model.errors import BarsError, as_python
from tests.helpers.bar_files import (
    DAILY,
    PRICES,
    changed,
    csv_text,
    dated,
    market,
    refusal,
    saved,
    spelt,
)

SOUND = (10.0, 11.0, 9.0, 10.5, 100.0)
NAN, INF = float("nan"), float("inf")
BROKEN = [
    ((NAN, 11.0, 9.0, 10.5, 100.0), "a price that is not finite"),
    ((10.0, INF, 9.0, 10.5, 100.0), "a price that is not finite"),
    ((10.0, 11.0, 0.0, 10.5, 100.0), "a price that is not above 0 (negative or zero)"),
    ((10.0, 11.0, 9.0, -37.63, 100.0), "a price that is not above 0 (negative or zero)"),
    ((10.0, 9.0, 11.0, 10.0, 100.0), "high below low"),
    ((10.0, 11.0, 9.0, 11.5, 100.0), "open or close above the high"),
    ((8.0, 11.0, 9.0, 10.5, 100.0), "open or close below the low"),
    ((10.0, 11.0, 9.0, 10.5, -1.0), "a volume that is negative or not finite"),
    ((10.0, 11.0, 9.0, 10.5, NAN), "a volume that is negative or not finite"),
    ((10.0, 11.0, 9.0, 10.5, INF), "a volume that is negative or not finite"),
]


@pytest.mark.parametrize("bar, breach", BROKEN)
def test_a_broken_bar_names_its_fault(bar: tuple[float, ...], breach: str) -> None:
    assert breach in bar_faults(*bar)


@pytest.mark.parametrize(
    "bar",
    [
        SOUND,
        (10, 10, 10, 10, 0),
        (1e-12, 2e-12, 1e-12, 2e-12, 0),
        (1e300, 1e300, 1e300, 1e300, 1),
        (10.0, 10.499999, 9.0, 10.5, 1.0),
    ],
)
def test_a_sound_bar_has_no_fault(bar: tuple[float, ...]) -> None:
    assert bar_faults(*bar) == ()


CELLS = [
    (
        dict(close=-37.63),
        "1 bar with a price that is not above 0 (negative or zero) (2015-01-09, line 7: open "
        "{open:.10g}, "
        "high {high:.10g}, low {low:.10g}, close -37.63). The features use log returns",
    ),
    (dict(close=np.inf), "1 bar with a price that is not finite (2015-01-09, line 7:"),
    (dict(high=1.0), "1 bar with high below low (2015-01-09, line 7: high 1, low {low:.10g})"),
    (
        dict(close=9999.0),
        "1 bar with open or close above the high (2015-01-09, line 7: open {open:.10g}, close "
        "9999, "
        "high {high:.10g})",
    ),
    (dict(open=1.0), "1 bar with open or close below the low (2015-01-09, line 7: open 1,"),
    (
        dict(volume=-5),
        "1 bar with a volume that is negative or not finite (2015-01-09, line 7: volume -5)",
    ),
]


@pytest.mark.parametrize("cells, message", CELLS)
def test_a_broken_bar_of_a_file_is_named_with_date_line_and_values(
    cells: dict[str, float], message: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, changed(DAILY, 5, **cells))
    assert refusal(path).startswith(f"{path}: " + message.format(**DAILY.iloc[5].to_dict()))


def test_every_kind_of_problem_is_listed_at_once(tmp_path: Path) -> None:
    table = DAILY.astype(object)
    for row, name, value in (
        (3, "close", "abc"),
        (5, "low", -3),
        (7, "volume", -9),
        (9, "open", ""),
        (11, "high", 1.0),
        (13, "date", "xx"),
        (15, "date", DAILY["date"][16]),
    ):
        table.loc[row, name] = value
    said = refusal(saved(tmp_path, table))
    assert "7 kinds of problem" in said
    for words in (
        "column 'date' not understood",
        "not a number",
        "missing price",
        "not above 0",
        "high below low",
        "volume",
        "duplicate date",
    ):
        assert words in said


DOTTED = changed(changed(spelt(DAILY, "{:.2f}".format), 5, close="-3.50"), 9, high="7.25")
BROKEN_ROWS = changed(changed(DAILY, 5, close=-3.5), 9, high=7.25)
TWELVE_DAYS = market(pd.date_range("2015-01-01", periods=288, freq="h"), 100.0, 0.01, 2)
TEXT = csv_text(BROKEN_ROWS)
TOGETHER = {
    "ambiguous dates": (
        csv_text(
            dated(changed(changed(TWELVE_DAYS, 5, close=-3.5), 9, high=7.25), "%d/%m/%Y %H:%M")
        ),
        "are ambiguous: no day above 12",
    ),
    "two orders of dates": (
        csv_text(
            BROKEN_ROWS.assign(
                date=DAILY["date"]
                .dt.strftime("%d/%m/%Y")
                .where(DAILY.index < 150, DAILY["date"].dt.strftime("%m/%d/%Y"))
            )
        ),
        "has another order of day and month",
    ),
    "dates turned by a spreadsheet": (
        csv_text(
            BROKEN_ROWS.assign(
                date=DAILY["date"]
                .dt.strftime("%Y-%d-%m")
                .where(DAILY["date"].dt.day <= 12, DAILY["date"].dt.strftime("%d/%m/%Y"))
            )
        ),
        "a spreadsheet took their day",
    ),
    "dates with and without an offset": (
        csv_text(
            changed(DAILY, 7, date="2015-01-13T00:00Z").assign(
                **{name: BROKEN_ROWS[name] for name in PRICES}
            )
        ),
        "state no offset from UTC",
    ),
    "times that are none": (
        csv_text(BROKEN_ROWS.assign(time=["10:00"] * 299 + ["25h"])),
        "which is no time of day",
    ),
    "no dates": (csv_text(BROKEN_ROWS.drop(columns="date")), "no 'date' column"),
    "two number formats": (
        csv_text(DOTTED.assign(open=DOTTED["open"].str.replace(".", ",")), sep=";"),
        "the decimal sign is",
    ),
    "ragged lines": (
        TEXT.replace("\n2015-01-20,", "\n1,2015-01-20,"),
        "line 14 has 7 fields but the header has 6 columns",
    ),
    "a note below": (TEXT + "Data provided by X\n", "line 302 has 1 field"),
    "an open quote": (
        TEXT.replace("2015-01-20", '"2015-01-20'),
        "a quote that does not close (first line 14: '\"2015-01-20",
    ),
    "no opens": (csv_text(BROKEN_ROWS.drop(columns="open")), "no 'open' column"),
    "two closes": (csv_text(BROKEN_ROWS.assign(Close=1.0)), "2 columns mean 'close' and differ"),
    "two tickers": (
        csv_text(pd.concat([BROKEN_ROWS.assign(symbol="A"), DAILY.assign(symbol="B")])),
        "choose one: ticker='A'",
    ),
    "few bars": (csv_text(BROKEN_ROWS[:40]), "40 bars; at least 244 are needed"),
}


@pytest.mark.parametrize("text, message", TOGETHER.values(), ids=TOGETHER)
def test_what_is_wrong_with_the_whole_does_not_hide_what_is_wrong_with_rows(
    text: str, message: str, tmp_path: Path
) -> None:
    said = refusal(saved(tmp_path, text))
    assert "3 kinds of problem" in said and message in said
    assert (
        "1 bar with a price that is not above 0 (negative or zero) (" in said
        and "line 7: open" in said
    )
    assert "close -3.5)" in said
    assert "1 bar with high below low (" in said and "line 11: high 7.25, low" in said


def test_ambiguous_decimals_do_not_hide_what_is_certain(tmp_path: Path) -> None:
    yen = spelt(DAILY, lambda price: f"{price / 10:.3f}".replace(".", ","))
    yen = changed(changed(changed(yen, 5, close="-110,567"), 9, high="101,000"), 11, low="1")
    said = refusal(saved(tmp_path, csv_text(yen, sep=";")))
    assert "3 kinds of problem" in said and "are ambiguous: decimal comma or thousands?" in said
    assert "1 bar with a price that is not above 0" in said
    assert "1 bar with high below low (2015-01-15, line 11: high 101000" in said


def test_where_most_lines_cannot_be_read_the_others_are_not_judged(tmp_path: Path) -> None:
    said = refusal(saved(tmp_path, TEXT.replace(".", ",", 1200)))
    assert "fields but the header has 6 columns" in said and "kinds of problem" not in said


def test_where_many_rows_are_not_read_the_spacing_of_the_others_is_not_judged(
    tmp_path: Path,
) -> None:
    lines = csv_text(DAILY).splitlines()
    lines[100:200:2] = ["cut"] * 50
    said = refusal(saved(tmp_path, "\n".join(lines)))
    assert "(50 lines of other width)" in said and "kinds of problem" not in said


def test_only_the_first_three_bars_of_a_kind_are_shown(tmp_path: Path) -> None:
    said = refusal(saved(tmp_path, DAILY.assign(volume=-2)))
    assert "300 bars with a volume" in said and said.count("volume -2") == 3 and "; ...)" in said


def test_every_rule_says_what_to_do() -> None:
    assert all(as_python(rule.remedy).endswith(".") for rule in BAR_RULES)


def test_findings_without_a_fault_raise_nothing() -> None:
    findings = Findings("FILE")
    findings.raise_faults()
    with pytest.raises(BarsError, match="^FILE: wrong.$"):
        findings.refuse("wrong.")


@pytest.mark.parametrize(
    "number, words", [(0, "0 bars"), (1, "1 bar"), (1234, "1234 bars"), (12345, "12,345 bars")]
)
def test_counts_are_spoken(number: int, words: str) -> None:
    assert count(number, "bar") == words
