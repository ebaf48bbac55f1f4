import itertools
import warnings

import pytest

from backtests import progress
from backtests.false_alarms import app, verdict_by, verdict_on, verdict_on_universe
from backtests.synthetic.markets import correlated_walks, market
from backtests.walk_forward.folds import FoldPlan
from model.bars.read import read_bars
from model.cli import run
from model.errors import BarsError, BarsWarning
from tests.helpers.artefacts import (
    ARTEFACTS,
    bounce,
    centred_mean,
    clean,
    filled_forward,
    heikin_ashi,
    open_a_row_late,
    trailing_ticker,
)

PLAN = FoldPlan(folds=4, train_blocks=4)


@pytest.mark.parametrize(
    "name, seed", [("walk", 1), ("walk", 2), ("walkdrift", 1), ("walkdrift", 2)]
)
def test_where_nothing_is_no_edge_is_claimed(name, seed):
    assert verdict_on(name, seed, 3000, plan=PLAN).word != "edge"


@pytest.mark.parametrize(
    "artefact",
    [heikin_ashi, filled_forward, open_a_row_late, trailing_ticker, centred_mean, bounce],
    ids=lambda artefact: artefact.__name__,
)
def test_what_nobody_traded_is_no_edge_though_it_is_accepted_as_bars(artefact):
    """The whole way from a frame to the verdict; on the same walk as it was traded it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BarsWarning)
        bars = read_bars(artefact(clean(4)), accept=("heikin-ashi", "gaps"), repeats="keep")
    verdict = verdict_by("logistic", bars, plan=PLAN)
    assert verdict.word != "edge"
    assert verdict.reasons.startswith(bars.attrs["flags"][0]["sentence"])


@pytest.mark.slow
def test_of_all_artefacts_hardly_any_is_an_edge():
    """Each accepted by name and kept, so that nothing but the verdict stands between."""
    accepted, edges, verdicts = ("heikin-ashi", "gaps"), [], 0
    for artefact, seed in itertools.product(ARTEFACTS, (4, 5)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BarsWarning)
            try:
                bars = read_bars(artefact(clean(seed)), accept=accepted, repeats="keep")
            except BarsError:
                continue  # such bars cannot be had at all
        for learner in ("logistic", "boosting"):
            verdicts += 1
            if verdict_by(learner, bars, plan=PLAN).word == "edge":
                edges.append((artefact.__name__, seed, learner))
    assert verdicts >= 80 and len(edges) <= verdicts / 50, edges


@pytest.mark.parametrize("name, bars", [("echo", 1500), ("volrev", 3000)])
def test_where_an_edge_is_planted_it_is_said(name, bars):
    verdict = verdict_on(name, 1, bars, plan=PLAN)
    assert verdict.word == "edge", verdict.sentence


SHORT = FoldPlan(folds=2, train_blocks=2)


def test_in_universes_of_walks_no_edge_is_claimed():
    words = [
        verdict_on_universe(correlated_walks(12, 600, seed), plan=SHORT).word
        for seed in range(1, 5)
    ]
    assert "edge" not in words


@pytest.mark.slow
def test_in_forty_universes_of_twenty_walks_an_edge_is_claimed_twice_at_most():
    words = [verdict_on_universe(correlated_walks(20, 3_000, seed)).word for seed in range(1, 41)]
    assert words.count("edge") <= 2


def test_in_a_universe_with_a_planted_law_it_is_said():
    universe = {f"m{seed}": market("volrev", 600, seed).bars for seed in range(12)}
    found = verdict_on_universe(universe, learner="boosting", plan=SHORT)
    assert found.word == "edge", found.sentence


def test_the_command_counts_its_verdicts_on_universes(capsys):
    given = ["--universes", "1", "--instruments", "10", "--bars", "1000", "--jobs", "1"]
    with pytest.raises(SystemExit):
        run(app, given)
    assert "0 false alarms on 1 universe of walks" in capsys.readouterr().out


def test_the_command_counts_its_verdicts_after_searches(capsys):
    given = ["--searches", "1", "--trials", "2", "--bars", "1000", "--jobs", "1"]
    with pytest.raises(SystemExit) as left:
        run(app, given)
    printed = capsys.readouterr()
    assert not left.value.code, printed.err
    said = " ".join(printed.out.split())
    assert "0 false alarms on 1 walk, each after a search of 2 trials" in said


@pytest.mark.slow
def test_of_twenty_searches_on_walks_one_claims_an_edge_at_most(capsys):
    with pytest.raises(SystemExit):
        run(app, ["--searches", "20", "--bars", "1000"])
    assert int(capsys.readouterr().out.split(" false alarm")[0].split()[-1]) <= 1


def test_the_command_counts_its_verdicts(capsys):
    with pytest.raises(SystemExit):
        run(app, ["--histories", "1", "--bars", "700", "--jobs", "1"])
    text = capsys.readouterr().out
    assert "0 false alarms on 2 walks without an edge" in text
    assert text.count("\n  walk") == 2 and "echo" in text and "volrev" in text


@pytest.mark.parametrize("flag", ["--histories", "--jobs"])
def test_no_history_or_process_at_all_is_wrong_use(flag, capsys):
    with pytest.raises(SystemExit) as left:
        run(app, [flag, "0"])
    assert (
        left.value.code == 2
        and f"{flag} must be a whole number from 1, got 0." in capsys.readouterr().err
    )


def test_the_grid_prints_every_cell_and_leaves_with_1_where_a_promise_is_broken(
    capsys, monkeypatch
):
    """And says where it is."""
    monkeypatch.setattr(progress, "SAY_EVERY", -1.0)
    with pytest.raises(SystemExit) as left:
        run(app, ["--grid", "--runs", "2", "--decisions", "100", "--jobs", "1"])
    text = capsys.readouterr().out
    assert "batches of verdicts: 1 of " in text and " left\n" in text
    assert "always long" in text and "volatility timer" in text and not left.value.code
    assert "cells of 2 verdicts: every promise is held" in text
    assert "…" not in text and "cannot tell" in text  # no column is cut


@pytest.mark.slow
def test_forty_walks_raise_at_most_two_false_alarms(capsys):
    with pytest.raises(SystemExit):
        run(app, [])
    alarms = int(capsys.readouterr().out.split(" false alarms")[0].split()[-1])
    assert alarms <= 2
