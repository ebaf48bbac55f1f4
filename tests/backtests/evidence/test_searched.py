"""What a search chose, and whether it is more than the luck of the best of many."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.searched import LUCK, Searched, choose, searched_past
from backtests.walk_forward.searching import Candidate
from backtests.walk_forward.space import SearchError
from model.training.config import TrainConfig
from tests.helpers.makers import random_bars

CONFIG = TrainConfig()
PAST = random_bars(500, seed=4)
LABELS = pd.Series(CONFIG.labelling.labels(PAST).values, PAST.index)
PART = LABELS.index[100:490]


def trial(learning_rate: float, forecasts: pd.Series) -> Candidate:
    """A trial as it comes of training, with the log loss of its forecasts."""
    right = np.where(LABELS[forecasts.index] > 0.5, forecasts, 1 - forecasts)
    return Candidate(
        settings={"learning_rate": learning_rate},
        state="finished",
        loss=float(-np.log(right).mean()),
        forecasts=forecasts,
        returns=(forecasts - 0.5) / 100,
    )


def noise(seed: int) -> pd.Series:
    """Forecasts that know nothing."""
    return pd.Series(np.random.default_rng(seed).uniform(0.4, 0.6, len(PART)), PART)


def knowing(strength: float) -> pd.Series:
    """Forecasts that lean to what came."""
    return noise(9) + strength * (LABELS[PART] - 0.5)


DEFAULT = trial(CONFIG.learning_rate, noise(2))


def lucky(n_trials: int, seed: int = 1) -> list[Candidate]:
    return [trial(number / 1e4, noise(100 * seed + number)) for number in range(1, n_trials + 1)]


def test_a_trial_that_is_better_by_luck_does_not_displace_the_settings_without_a_search() -> None:
    best, choice, _ = choose(PAST, [DEFAULT, *lucky(5)], CONFIG)
    assert best is DEFAULT and choice.stayed and choice.p is not None and choice.p >= LUCK
    assert choice.lowest < (DEFAULT.loss or 0) and choice.rows == len(PART)
    assert choice.sentence.startswith(
        "the settings without a search stay: the best of 5 others is no better than luck (log loss "
        f"on validation {choice.lowest:.4f} against {DEFAULT.loss:.4f}, Hansen's test p = "
    )


@pytest.mark.parametrize("n_trials", [3, 40])
def test_more_trials_do_not_make_luck_easier(n_trials: int) -> None:
    def displaced(seed: int) -> tuple[bool, bool]:
        default = trial(CONFIG.learning_rate, noise(10_000 + seed))
        choice = choose(PAST, [default, *lucky(n_trials, seed)], CONFIG)[1]
        return not choice.stayed, choice.lowest < (default.loss or 0)

    by_test, by_loss = np.sum([displaced(seed) for seed in range(1, 21)], axis=0)
    # Of 20 searches four, and of the luck of these twice as many at the most.
    assert by_test <= 2 * LUCK * 20 < by_loss


def test_a_trial_that_is_clearly_better_does() -> None:
    better = trial(0.5, knowing(0.2))
    best, choice, _ = choose(PAST, [DEFAULT, *lucky(20), better], CONFIG)
    assert best is better and not choice.stayed and choice.p is not None and choice.p < 0.01
    assert choice.sentence.startswith(
        "the winner replaces the settings without a search: of 21 others better than luck"
    )


def test_the_settings_without_a_search_stay_where_they_are_the_best() -> None:
    default = trial(CONFIG.learning_rate, knowing(0.2))
    best, choice, _ = choose(PAST, [default, *lucky(5)], CONFIG)
    assert best is default and choice.stayed and choice.p is None
    assert choice.sentence.endswith(
        f"no trial has a lower log loss on validation than their {default.loss:.4f}, over the "
        f"{len(PART)} decisions that all trials have"
    )


@pytest.mark.parametrize(
    ("tried", "why"),
    [
        ([], "which lie outside the space"),
        (
            [replace(DEFAULT, state="failed", loss=None, failure="no memory.")],
            "which could not be trained",
        ),
    ],
)
def test_where_these_were_not_trained_the_lowest_loss_wins(
    tried: Sequence[Candidate], why: str
) -> None:
    others = lucky(5)
    best, choice, _ = choose(PAST, [*tried, *others], CONFIG)
    assert best.loss == min(one.loss or 9 for one in others) and not choice.stayed
    assert choice.p is None and choice.sentence.endswith(why)


def test_trials_are_compared_on_the_decisions_that_all_of_them_have() -> None:
    # Of the decisions that the shorter one lacks, the longer one is almost certain.
    forecasts = knowing(0.18)
    forecasts[:50] = np.where(LABELS[PART[:50]] > 0.5, 0.99, 0.01)
    longer, shorter = trial(0.1, forecasts), trial(0.2, knowing(0.2)[50:])
    best, choice, _ = choose(PAST, [longer, shorter], CONFIG)
    assert longer.loss is not None and shorter.loss is not None and longer.loss < shorter.loss
    assert best is shorter and choice.rows == len(PART) - 50
    # What is shown is what was compared.
    past = searched_past(PAST, [longer, shorter], CONFIG)
    shown = [one.loss for one in past.tried]
    assert shown[1] == past.loss == choice.lowest and shown[0] > shown[1]


def test_where_nothing_could_be_trained_it_is_said() -> None:
    failed = Candidate(settings={"batch_size": 9}, state="failed", failure="too few bars.")
    with pytest.raises(SearchError, match="all 2 trials of the search failed: too few"):
        choose(PAST, [failed, failed], CONFIG)


def test_the_record_counts_all_trials_and_says_what_was_chosen() -> None:
    given_up = Candidate(settings={"learning_rate": 0.9}, state="given up", losses=[0.7])
    failed = Candidate(settings={"learning_rate": 0.8}, state="failed", failure="no.")
    past = searched_past(PAST, [DEFAULT, *lucky(3), given_up, failed], CONFIG)
    assert (past.trials, past.given_up, past.failed) == (6, 1, 1)
    assert past.settings == DEFAULT.settings and past.loss == past.default_loss
    assert past.loss == pytest.approx(DEFAULT.loss)
    assert [one.outcome for one in past.tried[-2:]] == ["given up", "failed: no."]
    once = Searched(walk_digest="", nested=False, pasts=[past])
    assert past.choice.sentence in once.sentence
    assert (
        f"deflated Sharpe ratio of the settings that stayed is {past.deflated:.3f}" in once.sentence
    )
    twice = Searched(walk_digest="", nested=True, pasts=[past, replace(past, deflated=0.5)])
    assert ", anew in each fold's own past; " in twice.sentence
    assert "in 2 of 2 the settings without a search stayed. On the validation" in twice.sentence
    assert f"in the median, from {min(0.5, past.deflated or 0):.3f} to" in twice.sentence
    assert twice.sentence.endswith("probability of backtest overfitting: 4 trials; ten are needed")
