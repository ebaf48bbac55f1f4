"""What a search for settings found, and how much of its best is the luck of so many trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from backtests.evidence.bootstrap import Bootstrap, block_length, means_of
from backtests.evidence.evidence import sharpe_per_bar
from backtests.evidence.hypothesis_tests import (
    SharpeRatio,
    expected_maximum,
    in_own_deviations,
    log_losses,
    superiority,
)
from backtests.evidence.overfitting import Overfitting, overfitting_probability
from backtests.evidence.verdict import p_words
from backtests.walk_forward.space import SearchError
from model.bars.faults import count
from model.bars.intervals import day
from model.files import write_atomically
from model.training.config import TrainConfig

if TYPE_CHECKING:
    from backtests.walk_forward.searching import Candidate

SEARCH = "search.json"
# The p-value below which the best of the trials replaces the settings without a search: where none
# is better one search in five replaces them, however many trials it has, by some that are as good.
LUCK = 0.2
Value = str | float | int | bool


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Whether a search leaves the settings as they would be without it, and why.

    Parameters
    ----------
    stayed
        Whether these are the winner's. They stay unless a trial forecasts validation better than
        they do by more than luck.
    p
        Of Hansen's test that no trial has a lower log loss than they: the chance that the best of
        so many would look as good if none were better. None where nothing was to be tested.
    rows
        On how many decisions of validation, those that all trials have, it rests.
    lowest
        The lowest log loss of all trials there.
    sentence
        The same in words.
    """

    stayed: bool
    p: float | None
    rows: int
    lowest: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class SearchedPast:
    """A search on one past. All its figures are of the validation part there, none of a test.

    Parameters
    ----------
    until
        The last bar that any trial has seen.
    trials, given_up, failed
        How many settings were tried; of these, how many were given up before their training ended,
        and how many could not be trained.
    settings
        Of the winner, the searched ones alone.
    loss, default_loss
        The log loss of the winner, and of the settings without a search; None where these were not
        among the trials, or could not be trained.
    choice
        Whether the winner is these settings themselves, and why.
    sharpe
        The winner's Sharpe ratio per bar, net, None where its returns do not vary.
    deflated
        The probability that the true ratio lies above the best by luck of so many trials.
    overfitting
        The probability that choosing the best of the trials that were trained to the end was
        overfitting.
    """

    until: str
    trials: int
    given_up: int
    failed: int
    settings: dict[str, Value]
    loss: float
    default_loss: float | None
    choice: Choice
    sharpe: float | None
    deflated: float | None
    overfitting: Overfitting


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The search that chose the settings of a walk-forward.

    Parameters
    ----------
    keys
        By architecture, the digest of all that decides the walk whose settings were found.
    nested
        Whether each fold searched anew in its own past, rather than all once before the first test
        block.
    pasts
        What was found in each past.
    """

    keys: dict[str, str]
    nested: bool
    pasts: list[SearchedPast]

    @property
    def trials(self) -> int:
        """How many settings were tried, in all pasts."""
        return sum(past.trials for past in self.pasts)

    @property
    def sentence(self) -> str:
        """How the settings were chosen, for terminal and report."""
        trials = count(self.trials, "trial")
        if self.nested:
            stayed = f"{sum(one.choice.stayed for one in self.pasts)} of {len(self.pasts)}"
            return (
                f"chosen by a search of {trials}, anew in each fold's own past; the walk-forward "
                f"counts as one trial; in {stayed} the settings without a search stayed"
            )
        # Not nested: there was one search, on one past.
        past = self.pasts[0]
        deflated = "not known" if past.deflated is None else f"{past.deflated:.3f}"
        return (
            f"chosen by a search of {trials} on bars up to {past.until}, before the first test "
            f"block; the walk-forward counts as one trial; {past.choice.sentence}. On the search's "
            f"validation part, the deflated Sharpe ratio of the winner is {deflated}; "
            f"{past.overfitting.sentence}"
        )


def remembered(folder: Path, keys: Mapping[str, str], searched: Searched | None) -> Searched | None:
    """Write the search of a walk into its folder, or return the one that stands there.

    None where there is none, or it is of other keys. Raises ValueError for a file that is no
    search's record.
    """
    path = folder / SEARCH
    if searched is not None:
        searched = replace(searched, keys=dict(keys))
        write_atomically(path, msgspec.json.format(msgspec.json.encode(searched)) + b"\n")
        return searched
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Searched)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ValueError(
            f"{path} must be the record of a search, got {error}. Give another folder with --out, "
            "or remove it."
        ) from error
    # A record of other settings or bars says nothing of this walk.
    return found if found.keys == dict(keys) else None


def searched_past(
    past: pd.DataFrame, candidates: Sequence[Candidate], config: TrainConfig
) -> SearchedPast:
    """Return what a search on one past found, with the luck in it.

    past: the bars that the trials have seen. config: the settings without a search. Raises
    SearchError where nothing could be trained.
    """
    best, choice = choose(past, candidates, config)
    finished = [one for one in candidates if one.loss is not None]
    default = next((one.loss for one in finished if _without_search(one, config)), None)
    failed = sum(one.state == "failed" for one in candidates)
    record = SharpeRatio.of(best.returns.to_numpy(np.float64))
    ratios = [sharpe_per_bar(one.returns.to_numpy(np.float64)) for one in finished]
    # How much trials differ by luck: the more they do, the luckier is the best.
    deviation = float(np.std(ratios, ddof=1)) if len(ratios) > 1 else 0.0
    # All that were tried count, also those that were given up: they would have been chosen, had
    # they been better.
    luck = expected_maximum(deviation, len(candidates) - failed)
    return SearchedPast(
        until=day(past.index[-1]),
        trials=len(candidates),
        given_up=len(candidates) - failed - len(finished),
        failed=failed,
        settings=dict(best.settings),
        loss=best.loss or 0.0,
        default_loss=default,
        choice=choice,
        sharpe=record.ratio if record else None,
        deflated=record.probability_above(luck) if record else None,
        overfitting=overfitting_probability([one.returns for one in finished]),
    )


def choose(
    past: pd.DataFrame, candidates: Sequence[Candidate], config: TrainConfig
) -> tuple[Candidate, Choice]:
    """Return the winner, and why it is that; arguments as of `searched_past`.

    The settings without a search stay unless a trial has a lower log loss on validation by more
    than luck: differences there are small, and the best of many is lucky. Where they were not
    trained the lowest loss wins, of equals the first.
    """
    finished = [one for one in candidates if one.loss is not None]
    if not finished:
        reasons = dict.fromkeys(one.failure for one in candidates if one.failure)
        n_tried = len(candidates)
        whole = f"all {n_tried} trials" if n_tried > 1 else "the only trial"
        raise SearchError(
            f"{whole} of the search failed: {'; '.join(reasons)} "
            "Mend what they have in common, the space or the bars."
        )
    losses = _losses(past, finished, config)
    best = int(losses.mean().argmin())
    default = next((n for n, one in enumerate(finished) if _without_search(one, config)), best)
    p = None if default == best else _luck(losses, default, config.horizon)
    stayed = _without_search(finished[default], config) and (p is None or p >= LUCK)
    winner = default if stayed else best
    tried = any(_without_search(one, config) for one in candidates)
    return finished[winner], Choice(
        stayed=stayed,
        p=p,
        rows=len(losses),
        lowest=float(losses[best].mean()),
        sentence=_sentence(losses, default, p, stayed=stayed, tried=tried),
    )


def _without_search(one: Candidate, config: TrainConfig) -> bool:
    """Whether a trial's settings are those that would be used without a search."""
    return all(getattr(config, name) == value for name, value in one.settings.items())


def _losses(past: pd.DataFrame, finished: Sequence[Candidate], config: TrainConfig) -> pd.DataFrame:
    """Return the log loss of each decision that all trials forecast on validation, a column each.

    The label is the same for all; another length of the window moves the decisions.
    """
    forecasts = pd.concat([one.forecasts for one in finished], axis=1, join="inner")
    labels = pd.Series(config.labelling.labels(past).values, past.index)
    known = forecasts.set_axis(range(len(finished)), axis=1).join(labels.rename("label")).dropna()
    label = known.pop("label").to_numpy()
    return known.apply(lambda forecast: log_losses(label, forecast.to_numpy()))


def _luck(losses: pd.DataFrame, default: int, horizon: int) -> float | None:
    """Return the p-value of Hansen's test that no trial loses less than that of this number."""
    others = losses.drop(columns=default)
    gains = in_own_deviations(
        {str(number): (losses[default] - losses[number]).to_numpy() for number in others}
    )
    # Outcomes overlap for as long as the label reaches.
    block = max(block_length(*gains.to_numpy().T), horizon)
    draws = Bootstrap(len(gains), block).draw({"gains": means_of(gains.to_numpy())})
    found = superiority(gains, draws["gains"], block)
    return found.p if found else None


def _sentence(
    losses: pd.DataFrame, default: int, p: float | None, *, stayed: bool, tried: bool
) -> str:
    """Say in words what was chosen; tried: whether the settings without a search were tried."""
    theirs, lowest = float(losses[default].mean()), float(losses.mean().min())
    if p is None and stayed:
        return (
            "the settings without a search stay: no trial has a lower log loss on validation than "
            f"their {theirs:.4f}"
        )
    if p is None:
        why = "could not be trained" if tried else "lie outside the space"
        return (
            f"the winner has the lowest log loss on validation, {lowest:.4f}, and was not held "
            f"against the settings without a search, which {why}"
        )
    others, rows = count(losses.shape[1] - 1, "other"), count(len(losses), "decision")
    if stayed:
        found = f"the settings without a search stay: the best of {others} is no better than luck"
    else:
        found = f"the winner replaces the settings without a search: of {others} better than luck"
    return (
        f"{found} (log loss on validation {lowest:.4f} against {theirs:.4f}, "
        f"Hansen's test p {p_words(p)} over {rows})"
    )
