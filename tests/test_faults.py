"""Faults: the checks on one bar and on many, and messages that list every kind of problem at once."""
from pathlib import Path

import numpy as np
import pytest
from bar_files import DAILY, changed, refusal, saved

from model.bars import bar_faults
from model.faults import BAR_CHECKS, BarsError, Findings, count

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


@pytest.mark.parametrize("bar", [SOUND, (10, 10, 10, 10, 0), (1e-12, 2e-12, 1e-12, 2e-12, 0), (1e300, 1e300, 1e300, 1e300, 1),
                                 (10.0, 10.499999, 9.0, 10.5, 1.0)])
def test_a_sound_bar_has_no_fault(bar: tuple[float, ...]) -> None:
    assert bar_faults(*bar) == ()


CELLS = [
    (dict(close=-37.63), "1 bar with a price that is not above 0 (negative or zero) (2015-01-09, line 7: open {open:.10g}, "
     "high {high:.10g}, low {low:.10g}, close -37.63). The features use log returns"),
    (dict(close=np.inf), "1 bar with a price that is not finite (2015-01-09, line 7:"),
    (dict(high=1.0), "1 bar with high below low (2015-01-09, line 7: high 1, low {low:.10g})"),
    (dict(close=9999.0), "1 bar with open or close above the high (2015-01-09, line 7: open {open:.10g}, close 9999, "
     "high {high:.10g})"),
    (dict(open=1.0), "1 bar with open or close below the low (2015-01-09, line 7: open 1,"),
    (dict(volume=-5), "1 bar with a volume that is negative or not finite (2015-01-09, line 7: volume -5)"),
]


@pytest.mark.parametrize("cells, message", CELLS)
def test_a_broken_bar_of_a_file_is_named_with_date_line_and_values(cells: dict[str, float], message: str, tmp_path: Path) -> None:
    path = saved(tmp_path, changed(DAILY, 5, **cells))
    assert refusal(path).startswith(f"{path}: " + message.format(**DAILY.iloc[5].to_dict()))


def test_every_kind_of_problem_is_listed_at_once(tmp_path: Path) -> None:
    table = DAILY.astype(object)
    for row, name, value in ((3, "close", "abc"), (5, "low", -3), (7, "volume", -9), (9, "open", ""), (11, "high", 1.0),
                             (13, "date", "xx"),
                             (15, "date", DAILY["date"][16])):
        table.loc[row, name] = value
    said = refusal(saved(tmp_path, table))
    assert "7 kinds of problem" in said
    for words in ("date not understood", "not a number", "missing price", "not above 0", "high below low", "volume",
                  "duplicate date"):
        assert words in said


def test_only_the_first_three_bars_of_a_kind_are_shown(tmp_path: Path) -> None:
    said = refusal(saved(tmp_path, DAILY.assign(volume=-1)))
    assert "300 bars with a volume" in said and said.count("volume -1") == 3 and "; ...)" in said


def test_every_check_says_what_to_do() -> None:
    assert all(check.remedy.endswith(".") for check in BAR_CHECKS)


def test_findings_without_a_fault_raise_nothing() -> None:
    findings = Findings("FILE")
    findings.raise_faults()
    with pytest.raises(BarsError, match="^FILE: wrong.$"):
        findings.refuse("wrong.")


@pytest.mark.parametrize("number, words", [(0, "0 bars"), (1, "1 bar"), (1234, "1234 bars"), (12345, "12,345 bars")])
def test_counts_are_spoken(number: int, words: str) -> None:
    assert count(number, "bar") == words
