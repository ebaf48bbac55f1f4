"""Bars joined with other series: what is asked for, what is cut, and what is refused with words."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tests.helpers.small_network  # noqa: F401 - an architecture
from model.bars.read import digest_bars, read_bars
from model.errors import BarsError, FeatureError
from model.features.joining import add_context, context_of, wanted_series
from model.features.table import FEATURE_NAMES, FeatureEngineer
from model.training.config import TrainConfig
from model.training.fitting import fit
from tests.helpers.makers import random_bars

SPY = random_bars(760, seed=1, start="2019-08-01")
CONFIG = TrainConfig(architecture="small", max_epochs=1, batch_size=32)


def test_texts_say_files_zones_columns_and_slower_bars() -> None:
    texts = (
        "data/spy.csv.gz",
        "vix.csv:ret_z_5,vol_ratio_5_20",
        "nikkei.csv@Asia/Tokyo",
        "dax@17:30 Europe/Berlin:ret_z_5",
        "self:1W:ret_z_2",
    )
    found = wanted_series(texts)
    assert [(one.name, one.clock, one.every, len(one.columns)) for one in found] == [
        ("spy", "", "", 86),
        ("vix", "", "", 2),
        ("nikkei", "Asia/Tokyo", "", 86),
        ("dax", "17:30 Europe/Berlin", "", 1),
        ("self", "", "1W", 1),
    ]


def test_bars_before_the_first_that_is_known_are_left_out_but_for_what_it_looks_back_on() -> None:
    bars, late = random_bars(500), random_bars(500, seed=1, start="2020-03-01")
    joined = add_context(bars, "spy:ret_z_5", series={"spy": late}, lookback=31)
    # Its 21st bar is the first with a value: thirty bars stand before that.
    assert joined.index[30] == late.index[20] and np.isnan(joined["spy:ret_z_5"]).sum() == 30
    assert joined.attrs["context"] is not None and bars.attrs == {}


def test_a_network_learns_from_what_is_joined_and_serves_it_again(tmp_path: Path) -> None:
    bars = random_bars(500)
    joined = add_context(bars, ["spy", "self:1W:bar_close_z"], series={"spy": SPY})
    checkpoint = fit(joined, CONFIG)
    assert checkpoint.layout.names == (
        *FEATURE_NAMES,
        *(f"spy:{name}" for name in FEATURE_NAMES),
        "self:1W:bar_close_z",
    )
    assert checkpoint.layout.groups["series spy"] == slice(86, 172)
    assert checkpoint.members[0].network.features == len(checkpoint.scaler.mean) == 173
    assert checkpoint.feature_sets == ["86 of ours", "spy (86 of ours)", "self:1W:bar_close_z"]
    # The months of the other series go with the same short span.
    kept = dict(zip(checkpoint.layout.names, checkpoint.scaler.kept, strict=True))
    assert not kept["moy_sin"] and not kept["spy:moy_sin"] and kept["spy:dow_sin"]
    again = add_context(bars, checkpoint.context, series={"spy": SPY})
    assert len(again) == len(bars)
    expected = checkpoint.probabilities(joined)
    pd.testing.assert_series_equal(checkpoint.probabilities(again).dropna(), expected)


def test_ours_may_be_left_out_beside_other_series() -> None:
    joined = add_context(random_bars(500), "spy:ret_z_5,ret_z_2", series={"spy": SPY}, lookback=1)
    checkpoint = fit(joined, TrainConfig(**vars(CONFIG) | {"only": True}))
    assert checkpoint.layout.names == ("spy:ret_z_5", "spy:ret_z_2")
    assert checkpoint.bars_needed == 50


def test_a_universe_is_joined_with_the_same_series() -> None:
    universe = {name: random_bars(420, seed=seed) for seed, name in enumerate("abc", start=5)}
    joined = add_context(universe, ["spy:ret_z_5"], series={"spy": SPY})
    pooled = fit(joined, TrainConfig(**vars(CONFIG) | {"fewest_instruments": 3}))
    assert pooled.context == context_of(joined) and pooled.layout.names[86:] == ("spy:ret_z_5",)
    unlike = joined | {"c": add_context(universe["c"], "spy:ret_z_2", series={"spy": SPY})}
    with pytest.raises(FeatureError, match="must be joined with the same series"):
        context_of(unlike)


def test_files_are_read_and_what_is_joined_counts_in_the_digest(tmp_path: Path) -> None:
    SPY.to_csv(tmp_path / "spy.csv")
    bars = random_bars(500)
    joined = add_context(bars, f"{tmp_path / 'spy.csv'}:ret_z_5")
    given = add_context(bars, "spy:ret_z_5", series={"spy": read_bars(tmp_path / "spy.csv")})
    assert digest_bars(joined) == digest_bars(given) != digest_bars(joined[bars.columns])
    assert digest_bars(joined) != digest_bars(add_context(bars, "spy:ret_z_2", series={"spy": SPY}))


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["spy:nope"], "the columns of spy:nope must be among our 86, got 'nope'"),
        (["spy:ret_z_"], "Did you mean 'ret_z_"),
        (["spy:ret_z_5,ret_z_5"], "must be named once each"),
        (["self"], "or universe:rank(ret_z_5), got 'self'. Write it so."),
        (["spy@"], "got 'spy@'. Write it so."),
        (["self:1X"], "must name slower bars as self:1W, self:2D, self:4h or self:30min, got self"),
        (["self:1D"], "must name slower bars than the instrument's own, got self:1D of bars of 1"),
        (["spy:nope"], "model.FEATURE_NAMES are all; without columns all are taken."),
        (
            ["spy", "spy:ret_z_5"],
            "got spy twice. Name it once, with all of its columns, as spy:ret",
        ),
        (
            ["self:1W", "self:1W"],
            "got self:1W twice. Name it once, with all of its columns, as sel",
        ),
        (
            ["spy.csv", "a/spy.csv"],
            "got spy.csv and a/spy.csv, whose columns would be called alike",
        ),
        (["spy@16:99 Asia/Tokyo"], "must be said as America/New_York or 16:00 America/New_York"),
        (["spy@16:99 Asia/Tokyo"], "got '16:99 Asia/Tokyo': '16:99' is no time of a day."),
        (["spy@Asia/Tokio"], "'Asia/Tokio' is no zone. Did you mean 'Asia/Tokyo'?"),
    ],
)
def test_texts_that_say_no_series_are_refused(texts: list[str], words: str) -> None:
    with pytest.raises(FeatureError, match=re.escape(words)):
        add_context(random_bars(200), texts, series={"spy": SPY})


LONG_AGO = "`context` must give series of the dates of the bars, 2020-01-01 to 2021-02-03, and with"
HOURS = random_bars(9_000, start="2019-12-01", freq="h")


@pytest.mark.parametrize(
    ("spy", "words"),
    [
        (random_bars(400, start="2010-01-01"), f"{LONG_AGO}.*spy: it ends long before they begin"),
        (random_bars(400, start="2022-01-01"), f"{LONG_AGO}.*no bar of it is known before they"),
        (SPY[400:450], f"{LONG_AGO}.*of it too few are known before they end"),
        (
            SPY[:400],
            r"spy is too old at 2020-09-12, and at 145 bars in all: its newest bar was complete 9 "
            "days before, more than `max_context_age`=7 days beyond its interval. Give a file that "
            "has those bars, or raise it to 152.",
        ),
        (HOURS, "the zone of the bars and spy is not stated, and those of spy are joined by"),
    ],
    ids=["before", "after", "few", "ends early", "hours"],
)
def test_series_of_other_dates_or_clocks_are_refused(spy: pd.DataFrame, words: str) -> None:
    with pytest.raises(FeatureError, match=words):
        add_context(random_bars(400), "spy", series={"spy": spy})


def test_the_age_that_a_refusal_names_is_enough() -> None:
    bars, holed = random_bars(400), SPY.drop(SPY.index[300:330])
    with pytest.raises(FeatureError) as told:
        add_context(bars, "spy:ret_z_5", series={"spy": holed})
    enough = float(str(told.value).rpartition("raise it to ")[2].rstrip("."))
    joined = add_context(bars, "spy:ret_z_5", series={"spy": holed}, max_context_age=enough)
    assert enough == 29 and joined["spy:ret_z_5"][30:].notna().all()


def test_dates_and_hours_are_joined_once_it_is_said_when_the_dates_end() -> None:
    hours = HOURS.copy()
    hours.attrs["timezone"] = "UTC"
    for closes, words in (
        ("", "the zone of the bars is not stated"),
        ("America/New_York", "`closes` must say when the day of the bars ends, got none: spy has"),
    ):
        with pytest.raises(FeatureError, match=words):
            add_context(random_bars(300), "spy", series={"spy": hours}, closes=closes)
    joined = add_context(
        random_bars(300), "spy:ret_z_5", series={"spy": hours}, closes="16:00 America/New_York"
    )
    # 16:00 in winter is 21:00 in UTC: the hour that began at 20:00 is the last.
    only = add_context(hours, "twin:ret_z_5", series={"twin": hours}, lookback=1)
    assert joined["spy:ret_z_5"]["2020-02-05"] == only["twin:ret_z_5"]["2020-02-05 20:00"]


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(BarsError, match=r"nowhere\.csv: no such file"):
        add_context(random_bars(200), "nowhere.csv")


@pytest.mark.parametrize(
    ("bars", "words"),
    [
        (random_bars(400, freq="h"), "the bars must have the interval of training, 86400, to be"),
        (random_bars(400), "`context` must give the bars of spy, got none of spy"),
    ],
)
def test_what_is_served_must_be_as_in_training(bars: pd.DataFrame, words: str) -> None:
    record = context_of(add_context(random_bars(400), "spy:ret_z_5", series={"spy": SPY}))
    assert record is not None
    given = {} if "got none" in words else {"spy": SPY}
    with pytest.raises(FeatureError, match=words):
        add_context(bars, record, series=given)


def test_columns_without_what_they_are_of_are_refused() -> None:
    joined = add_context(random_bars(400), "spy:ret_z_5", series={"spy": SPY})
    forgotten, cut = joined.copy(), joined.drop(columns="spy:ret_z_5")
    forgotten.attrs = {}
    for bars in (forgotten, cut):
        with pytest.raises(FeatureError, match="Call add_context last, and keep the attrs"):
            fit(bars, CONFIG)


PLACES = "universe:rank(ret_z_5),mean(ret_z_5)"


def late_and_holed() -> dict[str, pd.DataFrame]:
    universe = {name: random_bars(330, seed=seed) for seed, name in enumerate("abc", start=5)}
    gap = universe["b"].index[200:203]
    return universe | {"b": universe["b"].drop(gap), "c": universe["c"][40:]}


def test_an_instrument_has_its_place_among_those_with_a_bar_of_that_time() -> None:
    universe = late_and_holed()
    joined = add_context(universe, PLACES)
    own = pd.DataFrame(
        {name: FeatureEngineer().transform(bars)["ret_z_5"] for name, bars in universe.items()}
    )
    for date, names in (("2020-10-07", "abc"), ("2020-07-20", "ac")):
        found = own.loc[date, list(names)].sort_values()
        for place, name in enumerate(found.index):
            rank, mean = joined[name].loc[date].iloc[5:]
            assert rank == place / (len(names) - 1)
            assert mean == pytest.approx(found.mean(), abs=1e-12)
    # Before the others have their first value an instrument is in the middle of itself.
    assert joined["b"].loc["2020-02-08"].iloc[5] in (0.0, 1.0)
    alone = {"x": universe["a"], "y": universe["a"].iloc[200:]}
    assert add_context(alone, PLACES)["x"].loc["2020-02-08"].iloc[5] == 0.5


def test_places_know_nothing_of_later_bars_and_are_served_again() -> None:
    universe = late_and_holed()
    joined = add_context(universe, PLACES)
    cut = pd.Timestamp("2020-09-01")
    later = {
        name: bars * np.where(bars.index <= cut, 1.0, 3.0)[:, None]
        for name, bars in universe.items()
    }
    again = add_context(later, PLACES)
    for name, bars in joined.items():
        pd.testing.assert_frame_equal(bars.loc[:cut], again[name].loc[:cut], check_exact=True)
    pooled = fit(joined, TrainConfig(**vars(CONFIG) | {"fewest_instruments": 2}))
    assert pooled.layout.groups["series universe"] == slice(86, 88)
    served = add_context(universe, pooled.context)
    pd.testing.assert_frame_equal(
        pooled.scores(served).dropna(), pooled.scores(joined).dropna(), check_exact=True
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("universe", "or universe:rank(ret_z_5), got 'universe'. Write it so."),
        ("universe:ret_z_5", "or universe:rank(ret_z_5), got 'universe:ret_z_5'. Write it so."),
        ("universe:rank(nope)", "must be among our 86, got 'nope'"),
        ("universe:rank(ret_z_5),rank(ret_z_5)", "must be named once each"),
    ],
)
def test_places_that_are_none_are_refused(text: str, words: str) -> None:
    with pytest.raises(FeatureError, match=re.escape(words)):
        add_context(late_and_holed(), text)


def test_one_instrument_has_no_place_in_a_universe() -> None:
    with pytest.raises(FeatureError, match="which must have several instruments, got bars. Give"):
        add_context(random_bars(200), PLACES)


def test_the_zone_of_times_is_that_of_training_and_is_said_of_dates_alone() -> None:
    hours = random_bars(420, seed=1, freq="h")
    others = random_bars(420, seed=2, freq="h")
    hours.attrs, others.attrs = {"timezone": "UTC"}, {"timezone": "UTC"}
    record = add_context(hours, "spy:ret_z_5", series={"spy": others}).attrs["context"]
    unread = others.copy()
    unread.attrs = {}
    with pytest.raises(FeatureError, match="spy must have times in UTC as in training .* no st"):
        add_context(hours, record, series={"spy": unread})
    with pytest.raises(FeatureError, match="'Asia/Tokyo' must be said of dates alone, got bars wi"):
        add_context(hours, "spy@Asia/Tokyo:ret_z_5", series={"spy": unread})
    for words in ({"closes": "16:00 Asia/Tokyo"}, {"context": "spy@16:00 Asia/Tokyo:ret_z_5"}):
        with pytest.raises(FeatureError, match="'16:00 Asia/Tokyo' must be said of dates alone"):
            add_context(hours, **{"context": "spy:ret_z_5"} | words, series={"spy": others})
