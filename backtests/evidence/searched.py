"""What a search for settings found, and how much of its best is the luck of so many trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from backtests.evidence.evidence import sharpe_per_bar
from backtests.evidence.hypothesis_tests import SharpeRatio, expected_maximum
from backtests.evidence.overfitting import Overfitting, overfitting_probability
from model.bars.faults import count
from model.files import write_atomically

SEARCH = "search.json"
Value = str | float | int | bool


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
        among the trials, or were given up.
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
            return (
                f"chosen by a search of {trials}, anew in each fold's own past; the walk-forward "
                "counts as one trial"
            )
        # Not nested: there was one search, on one past.
        past = self.pasts[0]
        deflated = "not known" if past.deflated is None else f"{past.deflated:.3f}"
        return (
            f"chosen by a search of {trials} on bars up to {past.until}, before the first test "
            f"block; the walk-forward counts as one trial. On the search's validation part, the "
            f"deflated Sharpe ratio of the winner is {deflated}; {past.overfitting.sentence}"
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
    until: str,
    settings: Mapping[str, Value],
    losses: tuple[float, float | None],
    returns: pd.Series,
    others: Sequence[pd.Series],
    *,
    trials: int,
    failed: int,
) -> SearchedPast:
    """Return what a search found, with the luck in it.

    Parameters
    ----------
    until
        The last bar that any trial has seen.
    settings, losses
        Of the winner; its log loss and that of the settings without a search.
    returns, others
        Net on validation, of the winner and of the others that were trained to the end.
    trials, failed
        How many settings were tried, and how many of them could not be trained.
    """
    record = SharpeRatio.of(returns.to_numpy(np.float64))
    ratios = [sharpe_per_bar(one.to_numpy(np.float64)) for one in (returns, *others)]
    # How much trials differ by luck: the more they do, the luckier is the best.
    deviation = float(np.std(ratios, ddof=1)) if len(ratios) > 1 else 0.0
    # All that were tried count, also those that were given up: they would have been chosen, had
    # they been better.
    luck = expected_maximum(deviation, trials - failed)
    return SearchedPast(
        until=until,
        trials=trials,
        given_up=trials - failed - len(ratios),
        failed=failed,
        settings=dict(settings),
        loss=losses[0],
        default_loss=losses[1],
        sharpe=record.ratio if record else None,
        deflated=record.probability_above(luck) if record else None,
        overfitting=overfitting_probability([returns, *others]),
    )
