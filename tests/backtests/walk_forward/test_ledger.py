import re

import pytest

from backtests.walk_forward.ledger import Ledger, ledger_of


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "trials" / "nasdaq.jsonl", "of these bars")


def test_the_others_are_all_trials_but_this_one(ledger):
    for key, ratio in (("a", 0.1), ("b", -0.2), ("c", 0.3)):
        ledger.enter(key, ratio, {"seed": 42})
    assert ledger.others("b") == [0.1, 0.3]
    assert ledger.others("new") == [0.1, -0.2, 0.3]


def test_a_repeat_counts_once(ledger):
    ledger.enter("a", 0.1, {})
    ledger.enter("a", 0.1, {})
    assert ledger.path.read_text() == '{"key": "a", "data": "of these bars", "sharpe": 0.1}\n'


def test_trials_on_other_bars_do_not_count(ledger):
    """A universe with --ledger FILE has one file for all its markets."""
    Ledger(ledger.path, "of others").enter("a", 0.9, {})
    ledger.enter("b", 0.1, {})
    assert ledger.others() == [0.1]


def test_an_older_ledger_is_of_these_bars(ledger):
    ledger.path.write_text('{"key": "a", "sharpe": 0.2}\n')
    assert ledger.others() == [0.2]


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
    ledger.enter("a", 0.1, {})
    ledger.path.write_text(f"{content}\n")
    with pytest.raises(
        ValueError,
        match=re.escape(f"the ledger {ledger.path} must hold one line of JSON per trial"),
    ):
        ledger.enter("b", 0.1, {})
    assert ledger.path.read_text() == f"{content}\n"


def test_each_data_set_has_its_own_ledger(bars):
    ours, other = ledger_of(bars).path, ledger_of(bars.iloc[1:]).path
    assert ours != other and ours.parent == other.parent and ours.suffix == ".jsonl"
