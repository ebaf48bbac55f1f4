"""What a search for settings found, and how much of its best is the luck of so many trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
class SearchedTrial:
    """Settings that a search tried.

    state: "finished", "given up" before its training ended, or "failed". loss: the log loss on
    validation over the decisions that all trials have, None where it was not trained to the end.
    failure: why it could not be trained.
    """

    settings: dict[str, Value]
    state: str
    loss: float | None
    failure: str

    @property
    def outcome(self) -> str:
        """What came of it, in words."""
        return f"failed: {self.failure}" if self.state == "failed" else self.state


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
        The log loss of the winner, and of the settings without a search, over the decisions that
        all trials have; None where these were not among the trials, or could not be trained.
    choice
        Whether the winner is these settings themselves, and why.
    sharpe
        The winner's Sharpe ratio per bar, net, None where its returns do not vary.
    deflated
        The probability that the true ratio lies above the best by luck of so many trials.
    overfitting
        The probability that choosing the best of the trials that were trained to the end was
        overfitting.
    tried
        The trials, in their order.
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
    tried: list[SearchedTrial]


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The search that chose the settings of a walk-forward.

    Parameters
    ----------
    walk_digest
        The digest of bars and settings of the walk whose settings were found; "" before it begins.
    nested
        Whether each fold searched anew in its own past, rather than all once before the first test
        block.
    pasts
        What was found in each past.
    made_for
        Bars and settings of that walk, by name, as text.
    """

    walk_digest: str
    nested: bool
    pasts: list[SearchedPast]
    made_for: dict[str, str] = field(default_factory=dict)

    @property
    def trials(self) -> int:
        """How many settings were tried, in all pasts."""
        return sum(past.trials for past in self.pasts)

    def require_for(self, walk_digest: str, asked: Mapping[str, str]) -> None:
        """Require a walk of this digest to be the one that the search was made for.

        asked: its bars and settings by name, by which the refusal says what differs.
        """
        if self.walk_digest not in ("", walk_digest):
            differing = [
                f"{name} was {self.made_for.get(name, 'not known')}, is {value}"
                for name, value in asked.items()
                if self.made_for.get(name) != value
            ]
            raise SearchError(
                "`searched` must name the search that was made for these bars and settings, got "
                f"one for others, of {count(self.trials, 'trial')} on bars up to "
                f"{self.pasts[-1].until}: {'; '.join(differing) or 'the record was changed'}. "
                "Change neither, or leave it out (with --config, of a copy of the file)."
            )

    @property
    def sentence(self) -> str:
        """How the settings were chosen, for terminal and report."""
        trials = count(self.trials, "trial")
        if self.nested:
            stayed = sum(one.choice.stayed for one in self.pasts)
            how = (
                f"chosen by a search of {trials}, anew in each fold's own past; the walk-forward "
                f"counts as one trial; in {stayed} of {len(self.pasts)} the settings without a "
                "search stayed"
            )
        else:
            how = (
                f"chosen by a search of {trials} on bars up to {self.pasts[0].until}, before the "
                "first test block; the walk-forward counts as one trial; "
                f"{self.pasts[0].choice.sentence}"
            )
        return f"{how}. {self.luck_sentence}"

    @property
    def luck_sentence(self) -> str:
        """What the winners earned on validation beside the luck of so many trials, in words."""
        deflated = _median_in_words([past.deflated for past in self.pasts])
        if not self.nested:
            past = self.pasts[0]
            whose = "the settings that stayed" if past.choice.stayed else "the winner"
            return (
                f"On the search's validation part, the deflated Sharpe ratio of {whose} is "
                f"{deflated}; {past.overfitting.sentence}"
            )
        known = [past.overfitting.probability for past in self.pasts]
        overfitting = (
            f"probability of backtest overfitting: {_median_in_words(known)}"
            if any(value is not None for value in known)
            else self.pasts[0].overfitting.sentence  # says why there is none
        )
        return (
            "On the validation parts of the searches, the deflated Sharpe ratio of the settings "
            f"chosen is {deflated}; {overfitting}"
        )


def _median_in_words(values: Sequence[float | None]) -> str:
    """Return a figure of each past in words: itself, or the median and the ends."""
    known = [value for value in values if value is not None]
    if not known:
        return "not known"
    if len(values) == 1:
        return f"{known[0]:.3f}"
    ends = f"{min(known):.3f} to {max(known):.3f}"
    lacks = "" if len(known) == len(values) else f", known in {len(known)} of {len(values)} folds"
    return f"{np.median(known):.3f} in the median, from {ends}{lacks}"


def remembered(
    folder: Path, walk_digest: str, asked: Mapping[str, str], searched: Searched | None
) -> Searched | None:
    """Write the search of a walk into its folder, or return the one that stands there.

    None where there is none, or it is of another walk. walk_digest: of its bars and settings.
    asked: these by name.
    """
    path = folder / SEARCH
    if searched is None:
        try:
            found = read_searched(path)
        except SearchError:  # or what is none: the walk replaces it, as all that stands there
            return None
        # A record of other settings or bars says nothing of this walk.
        return found if found.walk_digest == walk_digest else None
    searched = replace(searched, walk_digest=walk_digest, made_for=dict(asked))
    write_atomically(path, msgspec.json.format(msgspec.json.encode(searched)) + b"\n")
    return searched


def read_searched(path: Path) -> Searched:
    """Return a search as its record says; SearchError for a file that is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Searched)
    except (OSError, msgspec.DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SearchError(
            f"{path} must be the record of a search of this version, {SEARCH} of "
            f"backtests/search.py, got {reason}. Name one with `searched`, or search again."
        ) from error


def searched_past(
    past: pd.DataFrame, candidates: Sequence[Candidate], config: TrainConfig
) -> SearchedPast:
    """Return what a search on one past found, with the luck in it.

    past: the bars that the trials have seen. config: the settings without a search. Raises
    SearchError where nothing could be trained.
    """
    best, choice, losses = choose(past, candidates, config)
    finished = [one for one in candidates if one.loss is not None]
    compared = [
        (one, loss) for one, loss in zip(candidates, losses, strict=True) if loss is not None
    ]
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
        loss=next(loss for one, loss in compared if one is best),
        default_loss=next((loss for one, loss in compared if _without_search(one, config)), None),
        choice=choice,
        sharpe=record.ratio if record else None,
        deflated=record.probability_above(luck) if record else None,
        overfitting=overfitting_probability([one.returns for one in finished]),
        tried=[
            SearchedTrial(
                settings=dict(one.settings),
                state=one.state,
                loss=loss,
                failure=one.failure,
            )
            for one, loss in zip(candidates, losses, strict=True)
        ],
    )


def choose(
    past: pd.DataFrame, candidates: Sequence[Candidate], config: TrainConfig
) -> tuple[Candidate, Choice, list[float | None]]:
    """Return the winner, why it is that, and the loss of each by which they were compared.

    Arguments as of `searched_past`. Another length of the window has other decisions: the loss is
    over those that all trials have, None of one that was not trained to the end.

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
    p = None if default == best else _hansen_p(losses, default, config.horizon)
    stayed = _without_search(finished[default], config) and (p is None or p >= LUCK)
    winner = default if stayed else best
    tried = any(_without_search(one, config) for one in candidates)
    choice = Choice(
        stayed=stayed,
        p=p,
        rows=len(losses),
        lowest=float(losses[best].mean()),
        sentence=_sentence(losses, default, p, stayed=stayed, tried=tried),
    )
    means = iter(losses.mean().tolist())
    compared = [None if one.loss is None else next(means) for one in candidates]
    return finished[winner], choice, compared


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


def _hansen_p(losses: pd.DataFrame, default: int, horizon: int) -> float | None:
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
    rows = f"{count(len(losses), 'decision')} that all trials have"
    if p is None and stayed:
        return (
            "the settings without a search stay: no trial has a lower log loss on validation than "
            f"their {theirs:.4f}, over the {rows}"
        )
    if p is None:
        why = "could not be trained" if tried else "lie outside the space"
        return (
            f"the winner has the lowest log loss on validation, {lowest:.4f} over the {rows}, and "
            f"was not held against the settings without a search, which {why}"
        )
    others = count(losses.shape[1] - 1, "other")
    if stayed:
        found = f"the settings without a search stay: the best of {others} is no better than luck"
    else:
        found = f"the winner replaces the settings without a search: of {others} better than luck"
    return (
        f"{found} (log loss on validation {lowest:.4f} against {theirs:.4f}, "
        f"Hansen's test p {p_words(p)}, over the {rows})"
    )
