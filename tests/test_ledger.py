import re

import pytest

from backtests.ledger import Ledger, default_ledger


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "trials" / "nasdaq.jsonl")


def test_the_others_are_all_trials_but_this_one(ledger):
    for key, ratio in (("a", 0.1), ("b", -0.2), ("c", 0.3)):
        ledger.enter(key, ratio, {"seed": 42})
    assert ledger.others("b") == [0.1, 0.3]
    assert ledger.others("new") == [0.1, -0.2, 0.3]


def test_a_repeat_counts_once(ledger):
    ledger.enter("a", 0.1, {})
    ledger.enter("a", 0.1, {})
    assert ledger.path.read_text() == '{"key": "a", "sharpe": 0.1}\n'


def test_before_the_first_trial_there_are_no_others(ledger):
    assert ledger.others("a") == []


def test_a_damaged_ledger_is_refused_not_overwritten(ledger):
    ledger.enter("a", 0.1, {})
    ledger.path.write_text("not json\n")
    with pytest.raises(ValueError, match=re.escape(f"the ledger {ledger.path} must hold one line of JSON per trial")):
        ledger.enter("b", 0.1, {})
    assert ledger.path.read_text() == "not json\n"


def test_each_data_set_has_its_own_ledger(bars):
    ours, other = default_ledger(bars), default_ledger(bars.iloc[1:])
    assert ours != other and ours.parent == other.parent and ours.suffix == ".jsonl"
