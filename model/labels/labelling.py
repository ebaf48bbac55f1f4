"""One way from bars to labels, whatever they are about, and when each of them is known."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import count
from model.labels.barrier import SHORTEST, Barrier, barrier_trades
from model.labels.moves import (
    MOVES,
    check_label,
    known_after,
    label_prices,
    make_labels,
    recent_volatility,
    soft_targets,
    softened,
)
from model.labels.own import LabelRecord, served_label
from model.settings import Rule, one_of, require, whole

BARRIER, OWN = "barrier", "own"
LABELS = (*MOVES, BARRIER, OWN)


class Labels(NamedTuple):
    """What became of each decision, by the bar at whose close it falls: (n,) each.

    values: 1.0, 0.0, or NaN where there is none. targets: what training aims at, on the label's
    side of one half. known: the position of the bar at whose close the label is known, n where it
    waits for a bar to come. tied: whether what was to move did not, so that no direction was right.
    ambiguous: whether there is no label because one bar reaches both levels.
    """

    values: NDArray[np.float64]
    targets: NDArray[np.float64]
    known: NDArray[np.int64]
    tied: NDArray[np.bool_]
    ambiguous: NDArray[np.bool_]

    @property
    def longest(self) -> int:
        """Bars between the entry of a trade and its end at the most, from 1."""
        labelled = np.flatnonzero(np.isfinite(self.values))
        return max(1, int((self.known[labelled] - labelled).max(initial=0)) - 1)


@dataclass(frozen=True)
class Labelling:
    """What a forecast is about.

    Parameters
    ----------
    label
        "open", "close": the move, as in `make_labels`; "barrier": a trade with levels; "own": one
        of the user's.
    horizon
        Bars of the move, or of the trade at the most; 1 where only the label knows.
    barrier
        The levels of the trade and its costs; None for the others.
    own
        What is known of a label of one's own; None for the others.
    """

    label: str = "open"
    horizon: int = 1
    barrier: Barrier | None = None
    own: LabelRecord | None = None

    def __post_init__(self) -> None:
        if self.own is not None:
            asked = {"label": self.label, "horizon": self.horizon, "barrier": self.barrier}
            only = Rule("1 with a label of your own, which knows its end", lambda one: one == 1)
            none = Rule("None with a label of your own", lambda one: one is None)
            require(asked, {"label": one_of(OWN), "horizon": only, "barrier": none})
            return
        if self.barrier is None:
            check_label(self.label, self.horizon)  # a barrier without its levels is none of them
            return
        require({"label": self.label}, {"label": one_of(BARRIER)})
        rule = whole(SHORTEST)
        words = f"{rule.words} with label='barrier', whose levels work from the bar after the fill"
        require({"horizon": self.horizon}, {"horizon": rule._replace(words=words)})

    def __str__(self) -> str:
        if self.own is not None:
            return f"the label {self.own} of your own"
        bars = count(self.horizon, "bar")
        if self.barrier is None:
            start = "the next bar's open" if self.label == "open" else "this close"
            return f"the move from {start} to the {self.label} {bars} later"
        levels = {"take profit": self.barrier.take_profit, "stop loss": self.barrier.stop_loss}
        given = [f"{name} {words}" for name, words in levels.items() if words]
        if costs := self.barrier.commission + self.barrier.slippage:
            given.append(f"{costs:g} basis points per side")
        return f"a long trade from the next bar's open: {', '.join(given)}, {bars} at the most"

    @property
    def wait(self) -> int:
        """Bars after its decision at which a label is known at the latest; of one's own two."""
        return known_after(self.label, self.horizon)

    def labels(self, bars: pd.DataFrame, softness: float = 0.0) -> Labels:
        """Return the label of each bar's decision.

        softness: the size of a move, in units of recent volatility, that makes a target 84 % sure.
        """
        if self.barrier is not None:
            return self._of_trades(bars, self.barrier, softness)
        if self.own is not None:
            values, known = served_label(self.own).transform(bars)
            nowhere = np.zeros(len(bars), bool)
            # How far it went is not known: each label is as sure as any.
            return Labels(values, values, known, nowhere, nowhere)
        asked = self.label, self.horizon
        before, after = label_prices(bars, *asked)
        known = np.arange(len(bars)) + self.wait
        return Labels(
            _decided(make_labels(bars, *asked).to_numpy()),
            _decided(soft_targets(bars, *asked, softness).to_numpy()),
            np.minimum(known, len(bars)),
            np.append(before == after, False)[1:],
            np.zeros(len(bars), bool),
        )

    def _of_trades(self, bars: pd.DataFrame, barrier: Barrier, softness: float) -> Labels:
        trades = barrier_trades(bars, barrier, self.horizon)
        over = trades.end < len(bars)
        values = np.where(over & ~trades.ambiguous, trades.gain > 0, np.nan)
        # As a move of the same bars would be: it spreads with the root of their number.
        scale = softness * np.sqrt(self.horizon) * _decided(recent_volatility(bars))
        targets = softened(values, np.log1p(trades.gain), scale)
        return Labels(values, targets, trades.end, trades.gain == 0, trades.ambiguous)


def _decided(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what stands at the bar of entry at that of the decision, which is the one before."""
    return np.append(values, np.nan)[1:]  # of no bars none
