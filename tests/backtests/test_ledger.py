"""The command that shows what was tried."""

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.hypothesis_tests import SharpeRatio, expected_maximum
from backtests.evidence.overfitting import overfitting_probability
from backtests.ledger import app
from backtests.reports.results import describe_settings
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldPlan, Settings
from backtests.walk_forward.ledger import Ledger, Subject, Trial, ledger_path, subject_of
from model.cli import run
from model.training.config import TrainConfig

PLAN = FoldPlan()
SETTINGS = Settings(PLAN, PLAN.training(TrainConfig()), Account(), Costs())
DATES = pd.date_range("2020-01-01", periods=200, name="decided_at", unit="ns")


def returns_of(number):
    return np.random.default_rng(number).normal(0.001, 0.01, len(DATES))


def enter(ledger, number, settings=SETTINGS):
    net = returns_of(number)
    notes = {"date": "2026-11-27T10:00:00+00:00", "bars_per_year": 252, "seed": number}
    ledger.enter(
        f"{ledger.on.instrument} {number}",
        Trial(f"{number:016d}", float(net.mean() / net.std(ddof=1))),
        pd.DataFrame({"position": np.int8(1), "net_return": net}, DATES),
        notes | describe_settings(settings),
    )


@pytest.fixture
def tried(tmp_path, monkeypatch, bars):
    """Ledgers in the user's data folder: of ten trials on the bars, and of one on the "[ES]"."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    on, other = subject_of(bars), Subject("[ES]", "1 hour", "of others")
    for number in range(10):
        dearer = replace(SETTINGS, costs=Costs(commission=float(number)))
        enter(Ledger(ledger_path(on), on), number, dearer)
    enter(Ledger(ledger_path(other), other), 10)
    return ledger_path(on)


def shown(capsys, *arguments):
    """What the command prints."""
    with pytest.raises(SystemExit) as left:
        run(app, [str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert not left.value.code, printed.err
    return printed.out


def test_each_trial_has_its_deflated_sharpe_ratio_given_all_that_count(tried, capsys):
    other, page = json.loads(shown(capsys, "--json"))
    ratios = [returns_of(number).mean() / returns_of(number).std(ddof=1) for number in range(10)]
    best = expected_maximum(float(np.std(ratios, ddof=1)), 10)
    for number, trial in enumerate(page["trials"]):
        expected = SharpeRatio.of(returns_of(number)).probability_above(best)
        assert trial["deflated"] == pytest.approx(expected, rel=1e-9)
        assert trial["sharpe"] == pytest.approx(ratios[number] * 252**0.5)
    assert [trial["trials"] for trial in page["trials"]] == [10] * 10
    assert (other["instrument"], other["interval"]) == ("[ES]", "1 hour")
    assert other["trials"] == [
        {
            "tried": "2026-11-27T10:00:00+00:00",
            "settings": "bilstm",
            "first": "2020-01-01 00:00:00",
            "last": "2020-07-18 00:00:00",
            "decisions": 200,
            "sharpe": pytest.approx(SharpeRatio.of(returns_of(10)).ratio * 252**0.5),
            "deflated": SharpeRatio.of(returns_of(10)).probability_above(),
            "trials": 1,
        }
    ]


def test_the_probability_of_overfitting_is_that_of_the_trials_that_count(tried, capsys):
    other, page = (one["overfitting"] for one in json.loads(shown(capsys, "--json")))
    series = [pd.Series(returns_of(number), DATES) for number in range(10)]
    assert page == asdict(overfitting_probability(series))
    assert other["sentence"] == "probability of backtest overfitting: 1 trial; ten are needed"


def test_the_table_says_when_what_and_how_good(tried, capsys):
    text = shown(capsys)
    assert max(map(len, text.partition("probability of")[0].splitlines())) <= 80
    for words in (
        "[ES], bars of 1 hour",
        "bars, bars of 1 day",
        "2026-11-27  bilstm",
        "commission 9",
        f"10 trials in {tried}",
        "the best of 10 trials on one half",
        "deflated: the probability that it lies above the best by luck",
    ):
        assert words in text


def test_a_trial_that_stands_twice_in_the_file_is_shown_once_and_said(tried, capsys):
    text = tried.read_text()
    tried.write_text(text + text.splitlines()[3] + "\n")
    _, page = json.loads(shown(capsys, "--json"))
    assert (len(page["trials"]), page["repeated"], page["overfitting"]["trials"]) == (10, 1, 10)
    assert f"10 trials in {tried}, beside 1 line that repeats one of them" in shown(capsys)


@pytest.mark.parametrize("by_ledger", [False, True])
def test_of_a_file_of_bars_what_was_tried_on_them_is_shown(
    tried, bars, capsys, tmp_path, by_ledger
):
    bars.to_csv(tmp_path / "bars.csv")
    given = ["--ledger", tried] if by_ledger else []
    [page] = json.loads(shown(capsys, "--data", tmp_path / "bars.csv", *given, "--json"))
    assert page["instrument"] == "bars" and len(page["trials"]) == 10
    given = ["--data", tmp_path / "bars.csv", "--instrument", "none", *given]
    assert "nothing was tried yet: no trial in " in shown(capsys, *given)
    [page] = json.loads(shown(capsys, "--instrument", "[ES]", "--json"))
    assert len(page["trials"]) == 1


def test_a_ledger_of_an_older_version_is_shown_with_what_it_knows(tried, bars, capsys):
    older = tried.with_name(f"{subject_of(bars).data[:16]}.jsonl")
    older.write_text('{"key": "older", "sharpe": 0.2, "training": {"architecture": "bilstm"}}')
    pages = json.loads(shown(capsys, "--json"))
    [before] = [page for page in pages if page["ledger"] == str(older)]
    assert before["instrument"] is None and before["overfitting"] is None
    assert before["trials"][0] == dict.fromkeys(before["trials"][0]) | {"settings": "bilstm"}
    [page] = [page for page in pages if page["ledger"] == str(tried)]
    # It is one more that the others are held against.
    assert page["trials"][0]["trials"] == 11 and page["overfitting"]["trials"] == 10
    assert "trials of an older version" in shown(capsys)


@pytest.mark.parametrize("harm", ["missing", "damaged", "no ledger"])
def test_what_cannot_be_read_is_one_message_and_exit_code_3(tried, capfd, harm):
    file = next(tried.with_name(f"{tried.name}-positions").iterdir())
    given = []
    if harm == "missing":
        file.unlink()
    elif harm == "damaged":
        file.write_bytes(b"PAR1")
    else:
        given = ["--ledger", file := tried.with_name("none")]
    with pytest.raises(SystemExit) as left:
        run(app, [str(argument) for argument in given])
    printed = capfd.readouterr()
    assert left.value.code == 3 and not printed.out
    assert printed.err.startswith(f"error: {file} must") and printed.err.count("\n") == 1


def test_before_the_first_trial_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert shown(capsys).startswith(f"nothing was tried yet: no trial in {tmp_path}")
    assert json.loads(shown(capsys, "--json")) == [] and not list(tmp_path.iterdir())
