import re

import numpy as np
import pandas as pd
import pytest

from backtests.walk_forward.ledger import (
    Ledger,
    Trial,
    digest_positions,
    ledger_of,
    sharpes_but,
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "trials" / "nasdaq.jsonl", "of these bars")


def test_the_others_are_all_trials_but_this_one(ledger):
    a, b, c = (
        Trial(f"held by {name}", ratio) for name, ratio in (("a", 0.1), ("b", -0.2), ("c", 0.3))
    )
    for key, trial in (("a", a), ("b", b), ("c", c)):
        assert ledger.enter(key, trial, {"seed": 42})
    assert ledger.others("b") == [a, c]
    assert ledger.others("new") == [a, b, c]
    assert sharpes_but([a, b, c], {"held by a"}) == (-0.2, 0.3)


def test_a_repeat_counts_once(ledger):
    trial = Trial("held", 0.1)
    assert [ledger.enter("a", trial, {}) for _ in range(2)] == [True, False]
    assert not ledger.enter("at other costs", Trial("held", -0.3), {})
    assert ledger.path.read_text() == (
        '{"key": "a", "data": "of these bars", "positions": "held", "sharpe": 0.1}\n'
    )


def test_trials_on_other_bars_do_not_count(ledger):
    """A universe with --ledger FILE has one file for all its markets."""
    Ledger(ledger.path, "of others").enter("a", Trial("held", 0.9), {})
    assert ledger.enter("b", Trial("held", 0.1), {})
    assert ledger.others() == [Trial("held", 0.1)]


def test_an_older_ledger_is_of_these_bars(ledger):
    """Its lines know no positions, but their settings."""
    ledger.path.write_text('{"key": "a", "sharpe": 0.2}\n')
    assert ledger.others() == [Trial("", 0.2)] and ledger.others("a") == []
    assert not ledger.enter("a", Trial("held", 0.2), {})


def test_before_the_first_trial_there_are_no_others(ledger):
    assert ledger.others("a") == []


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[1]",
        "{}",
        '{"key": "a"}',
        '{"key": "a", "sharpe": null}',
        '{"key": "a", "sharpe": NaN}',
        '{"key": "a", "sharpe": Infinity}',
    ],
)
def test_a_damaged_ledger_is_refused_not_overwritten(ledger, content):
    ledger.enter("a", Trial("held", 0.1), {})
    ledger.path.write_text(f"{content}\n")
    with pytest.raises(
        ValueError,
        match=re.escape(f"the ledger {ledger.path} must hold one line of JSON per trial"),
    ):
        ledger.enter("b", Trial("held", 0.1), {})
    assert ledger.path.read_text() == f"{content}\n"


def test_each_data_set_has_its_own_ledger(bars):
    ours, other = ledger_of(bars).path, ledger_of(bars.iloc[1:]).path
    assert ours != other and ours.parent == other.parent and ours.suffix == ".jsonl"


def test_a_trial_is_its_dated_positions_on_an_instrument_and_interval(bars):
    """Neither prices nor sizes are part of it."""
    dates, held = pd.DatetimeIndex(bars.index[:3]), np.array([0.0, 1.0, -1.0])
    trial = digest_positions(bars, dates, held)
    assert digest_positions(bars * 2, dates, 5 * held) == trial
    hourly = bars.set_axis(pd.date_range("2020-01-01", periods=len(bars), freq="h"))
    others = [
        (bars, dates, -held),
        (bars, dates + pd.Timedelta(days=1), held),
        (hourly, dates, held),
        (named(bars, "another"), dates, held),
    ]
    assert len({trial, *(digest_positions(*other) for other in others)}) == 5


def named(bars, instrument):
    copy = bars.copy()
    copy.attrs["instrument"] = instrument
    return copy
