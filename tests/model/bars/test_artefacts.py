"""Bars that fake an edge are told by name, and clean walks by nothing."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.bars import artefacts
from model.bars.artefacts import find_artefacts, flags_of, flags_of_all, repeated_rows
from model.bars.read import read_bars
from model.bars.sample import sample_bars
from model.errors import BarsError, BarsWarning
from tests.helpers.artefacts import (
    ARTEFACTS,
    CLEAN,
    a_page_twice,
    clean,
    filled_forward,
    heikin_ashi,
    interpolated_days,
    open_a_row_late,
    prices_filled_back,
    prices_filled_forward,
    reaching_highs_and_lows,
)

IDENTITY = {"repeats", "heikin-ashi", "gaps"}


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda artefact: artefact.__name__)
def test_an_artefact_is_told_by_its_name(artefact: Any) -> None:
    for seed in (1, 2):
        flags = find_artefacts(artefact(clean(seed)))
        assert ARTEFACTS[artefact] in [flag["name"] for flag in flags]
        assert all(flag["name"] in IDENTITY for flag in flags if flag["identity"])


@pytest.mark.parametrize("kind", CLEAN)
def test_a_clean_walk_is_told_by_nothing(kind: str) -> None:
    for seed in range(50, 54):
        assert find_artefacts(clean(seed, **CLEAN[kind])) == []  # type: ignore[arg-type]


def test_the_sample_is_told_by_nothing() -> None:
    assert find_artefacts(sample_bars()) == [] and sample_bars().attrs["flags"] == []


def test_of_few_bars_nothing_is_said() -> None:
    assert find_artefacts(heikin_ashi(clean(1))[:99]) == []


def test_flags_are_those_that_reading_found_or_found_anew() -> None:
    bars = open_a_row_late(clean(1))
    assert "gaps" in [flag["name"] for flag in flags_of(bars)]
    bars.attrs["flags"] = []
    assert flags_of(bars) == []


def read_with_notes(*arguments: Any, **settings: Any) -> tuple[pd.DataFrame, str]:
    """The bars, and all notes in one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bars = read_bars(*arguments, **settings)
    return bars, " ".join(str(one.message) for one in caught)


def written(bars: pd.DataFrame, folder: Path) -> Path:
    bars.to_csv(folder / "bars.csv")
    return folder / "bars.csv"


@pytest.mark.parametrize(
    ("artefact", "name", "words"),
    [
        (heikin_ashi, "heikin-ashi", "Heikin-Ashi candles, of which no price was ever traded"),
        (open_a_row_late, "gaps", "opens that are older than the close before"),
    ],
)
def test_what_nobody_traded_is_refused_and_taken_where_it_is_accepted(
    artefact: Any, name: str, words: str, tmp_path: Path
) -> None:
    path = written(artefact(clean(1)), tmp_path)
    with pytest.raises(BarsError) as refused:
        read_bars(path)
    assert words in str(refused.value) and f"accept='{name}'" in str(refused.value)
    bars, notes = read_with_notes(path, accept=("heikin-ashi", "gaps", "wicks", "smoothed"))
    assert words in notes
    kept = {flag["name"]: flag["accepted"] for flag in bars.attrs["flags"]}
    assert kept[name] and all(kept.values())
    assert json.loads(json.dumps(bars.attrs["flags"])) == bars.attrs["flags"]
    # Said at every read, without being accepted anew.
    again, notes = read_with_notes(bars)
    assert words in notes and again.attrs["flags"] == bars.attrs["flags"]


def test_what_is_only_unlikely_is_said(tmp_path: Path) -> None:
    path = written(reaching_highs_and_lows(clean(1)), tmp_path)
    with pytest.warns(BarsWarning, match="do high and low reach into the next bar"):
        bars = read_bars(path)
    flag = bars.attrs["flags"][0]
    assert (flag["name"], flag["identity"], flag["accepted"]) == ("wicks", False, False)


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(BarsError, match=r"'heikinashi'.*Did you mean 'heikin-ashi'"):
        read_bars(sample_bars(), accept=("heikinashi",))
    with pytest.raises(BarsError, match=r"`repeats` must be one of 'drop', 'keep', got 'yes'"):
        read_bars(sample_bars(), repeats="yes")


@pytest.mark.parametrize("artefact", [filled_forward, interpolated_days])
def test_rows_that_repeat_others_are_refused_dropped_or_kept(artefact: Any, tmp_path: Path) -> None:
    bars = artefact(clean(1))
    path, repeated = written(bars, tmp_path), int(repeated_rows(bars).sum())
    with pytest.raises(BarsError) as refused:
        read_bars(path)
    assert "Nobody could trade at their opens" in str(refused.value)
    assert "repeats='drop'" in str(refused.value) and "repeats='keep'" in str(refused.value)
    with pytest.warns(BarsWarning, match=f"dropped {repeated} bars that repeat others"):
        dropped = read_bars(path, repeats="drop")
    assert len(dropped) == len(bars) - repeated
    # The next gap after a row that was made up is real, and wider than usual.
    assert not repeated_rows(dropped).any()
    kept, notes = read_with_notes(path, repeats="keep")
    assert "never traded at their opens" in notes and len(kept) == len(bars)
    flag = next(flag for flag in kept.attrs["flags"] if flag["name"] == "repeats")
    assert flag["accepted"] and flag["identity"]
    with pytest.warns(BarsWarning, match="never traded"):
        assert len(read_bars(kept)) == len(bars)


@pytest.mark.parametrize("fill", [prices_filled_forward, prices_filled_back])
def test_of_prices_filled_in_without_volume_what_was_traded_is_left(fill: Any) -> None:
    bars = clean(1)
    with pytest.warns(BarsWarning, match="that repeat others"):
        assert read_bars(fill(bars), repeats="drop").equals(bars)


def test_a_few_rows_that_repeat_are_said_with_count_and_date(tmp_path: Path) -> None:
    bars = clean(1)
    for at in (400, 800):
        bars.iloc[at] = bars.iloc[at - 1]
    with pytest.warns(BarsWarning, match=r"2 bars repeat the one before.*first 2011-07-18"):
        read = read_bars(written(bars, tmp_path))
    assert len(read) == len(bars) and not read.attrs["flags"][0]["accepted"]


def test_a_page_that_stands_twice_is_refused_and_its_second_time_dropped() -> None:
    bars = clean(1)
    twice = a_page_twice(bars)
    with pytest.raises(BarsError, match="60 bars repeat 20 or more earlier ones in a row"):
        read_bars(twice)
    with pytest.warns(BarsWarning, match="dropped 60 bars"):
        assert read_bars(twice, repeats="drop").equals(bars.drop(bars.index[700:760]))


def test_flat_bars_that_repeat_are_none() -> None:
    """A halt, which has a note of its own: its bars have no range."""
    bars = clean(1)
    bars.iloc[300:310] = [50.0, 50.0, 50.0, 50.0, 0.0]
    assert not repeated_rows(bars).any()


def test_long_series_are_judged_on_a_part_of_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so many pairs a correlation is known well enough."""
    monkeypatch.setattr(artefacts, "MOST_RANKED", 400)
    assert find_artefacts(open_a_row_late(clean(1)))[0]["name"] == "gaps"
    assert find_artefacts(clean(1)) == []


def test_one_name_may_be_given_as_text(tmp_path: Path) -> None:
    bars, notes = read_with_notes(written(open_a_row_late(clean(1)), tmp_path), accept="gaps")
    assert bars.attrs["flags"][0]["accepted"] and "older than the close before" in notes


def test_bars_are_left_as_they_are() -> None:
    bars = clean(3)
    before = bars.copy()
    find_artefacts(bars)
    assert np.array_equal(bars.to_numpy(), before.to_numpy())


def test_the_flags_of_several_instruments_have_their_names() -> None:
    gapless, sound = heikin_ashi(clean(1)), clean(2)
    alone = flags_of_all({"gold": gapless})
    assert alone == flags_of(gapless) and alone[0]["name"] == "heikin-ashi"
    [first, *_] = flags_of_all({"silver": sound, "gold": gapless})
    assert first == alone[0] | {"sentence": f"gold: {alone[0]['sentence']}"}
