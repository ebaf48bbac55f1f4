"""Trained networks through the detectors: what they say, trade, and were trained on."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from backtests.lookahead import detectors
from backtests.lookahead.checks import TOLERANCE, Cuts, Step, stamps_known
from backtests.lookahead.detectors import (
    LeakResult,
    Tally,
    Track,
    scaler_figures,
    scaler_items,
)
from backtests.simulation.broker import simulate
from model.bars.faults import COLUMNS
from model.bars.intervals import day
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.labels.moves import MOVES
from model.training.preprocessor import DataPreprocessor, Split
from strategy_plugin.guard import TradingWarning

# Of probability, equity, position; size, price, commission of an order.
TRADED = (TOLERANCE, 0.0, 0.0, 0.0, 0.0, 0.0)
FEW_AHEAD = 5  # poisoned bars behind a window: each is another window to compute
NUDGE = 1.01  # a poison for orders: a gap so small that what was ordered can still be paid


@dataclass(frozen=True)
class CheckpointChecks:
    """Networks in a file or a schedule folder.

    What they say at each bar, what is traded on it, what they were trained on.
    """

    bars: pd.DataFrame
    schedule: Schedule
    cuts: Cuts

    @property
    def steps(self) -> dict[str, Step]:
        """Return the checks by name."""
        return {
            "probabilities": self.probabilities,
            "schedule": self.in_force,
            "overlap in checkpoints": self.overlap,
            "scaler in checkpoints": self.scaler,
            "orders": self.orders,
            "orders at the cut": self.last_orders,
        }

    def probabilities(self, track: Track) -> LeakResult:
        return detectors.window_leaks(
            "probabilities",
            self._say,
            self.bars,
            self._memory,
            ahead=FEW_AHEAD,
            tolerance=TOLERANCE,
            track=track,
        )

    def in_force(self, _: Track) -> LeakResult:
        """Check that no checkpoint of a folder decides before the last bar it has seen."""
        tally, timestamps = Tally("schedule"), pd.DatetimeIndex(self.bars.index)
        if self.schedule.folder:
            force = [self.schedule.at(stamp) for stamp in timestamps.as_unit("ns").asi8.tolist()]
            until, decided = (
                pd.DatetimeIndex(column).to_numpy("datetime64[ns]")[:, None]
                for column in (
                    [found.trained_until if found else None for found in force],
                    timestamps,
                )
            )
            # NaT, where no checkpoint is in force yet, is later than nothing.
            tally.count(
                ["trained_until"], timestamps, until, decided, until > decided, "is when it decides"
            )
        return tally.result

    def overlap(self, track: Track) -> LeakResult:
        return self._each("overlap in checkpoints", checkpoint_overlap, track)

    def scaler(self, track: Track) -> LeakResult:
        return self._each("scaler in checkpoints", checkpoint_scaler, track)

    def orders(self, track: Track) -> LeakResult:
        """Trade again on the bars up to each cut, with the checkpoints that existed then."""
        bars, cuts = self._traded_bars
        return detectors.history_leaks(
            "orders",
            self._trade,
            bars,
            cuts,
            other_futures=detectors.cut_off,
            tolerance=TRADED,
            track=track,
        )

    def last_orders(self, track: Track) -> LeakResult:
        """Trade again with a few other bars behind each cut.

        What is ordered at the cut itself shows one bar later.
        """
        bars, cuts = self._traded_bars

        def soon_other(bars: pd.DataFrame, last: int) -> Iterator[tuple[str, pd.DataFrame]]:
            soon = bars.iloc[: last + 1 + FEW_AHEAD]
            yield "with other bars", detectors.poisoned(soon, last, NUDGE)

        def ordered(bars: pd.DataFrame) -> pd.Series:
            with self._known_at(bars.index[-1]) as source:
                fills = simulate(bars, source).fills
            return fills.set_index("decided_at")["size"].astype(float)

        return detectors.history_leaks(
            "orders at the cut", ordered, bars, cuts, other_futures=soon_other, track=track
        )

    @property
    def _memory(self) -> int:
        return self.schedule.checkpoints[0].bars_needed

    def _say(self, bars: pd.DataFrame) -> pd.Series:
        timestamps = pd.DatetimeIndex(bars.index).as_unit("ns").asi8
        return pd.Series(
            self.schedule.probabilities(bars.to_numpy(), timestamps),
            index=bars.index,
            name="probability",
        )

    def _each(
        self, name: str, check: Callable[[Checkpoint, pd.DataFrame], LeakResult], track: Track
    ) -> LeakResult:
        """Put the checkpoints that were trained on these bars through a check and add up."""
        checkpoints = self.schedule.checkpoints
        # Of other bars nothing can be said: their parts lie at other dates.
        ours = [checkpoint for checkpoint in checkpoints if trained_on(checkpoint, self.bars)]
        checks = [check(ours[number], self.bars) for number in track(range(len(ours)))]
        return LeakResult(
            name,
            sum(part.compared for part in checks),
            sum(part.differences for part in checks),
            tuple(found for part in checks for found in part.findings),
            f"{len(ours)} of {len(checkpoints)} checkpoints were trained on these bars",
        )

    @cached_property
    def _traded_bars(self) -> tuple[pd.DataFrame, list[int]]:
        """Return the bars that may be traded, with the warm-up of the first, and the cuts.

        Folds' borders are among them.
        """
        borders = self.bars.index.searchsorted(
            [checkpoint.trained_until for checkpoint in self.schedule.checkpoints]
        )
        # Before its first model a schedule trades nothing, and nothing could leak.
        first = max(self._memory - 1, int(borders.min()))
        start = first - self._memory + 1
        bars = self.bars.iloc[start:]
        return bars, self.cuts.between(first - start, len(bars) - 2, (borders - start).tolist())

    def _trade(self, bars: pd.DataFrame) -> pd.DataFrame:
        with self._known_at(bars.index[-1]) as source:
            traded = simulate(bars, source)
        account = pd.concat([traded.probability, traded.equity, traded.position], axis=1)
        fills = traded.fills.set_index("filled_at")[["size", "price", "commission"]]
        # A run without fills has columns of no type.
        return pd.concat([account, fills.astype(float)])

    @contextmanager
    def _known_at(self, stamp: pd.Timestamp) -> Iterator[Path]:
        """Yield a schedule of only those checkpoints that could exist at a stamp."""
        if not self.schedule.folder:
            yield self.schedule.path
            return
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # Before its first model a schedule trades nothing, as it should.
            warnings.simplefilter("ignore", TradingWarning)
            for checkpoint in self.schedule.checkpoints:
                if checkpoint.trained_until <= stamp:
                    file = self.schedule.file(checkpoint)
                    # Resolved, since a relative link would point into the temporary folder.
                    Path(folder, file.name).symlink_to(file.resolve())
            yield Path(folder)


def trained_on(checkpoint: Checkpoint, bars: pd.DataFrame) -> bool:
    """Return whether the checkpoint learnt from these bars alone: its golden window is in them."""
    if checkpoint.golden is None or not checkpoint.parts or len(checkpoint.instruments or ()) > 1:
        return False
    timestamps = pd.DatetimeIndex(np.array(checkpoint.golden.stamps, dtype="datetime64[ns]"))
    return bool(
        np.array_equal(
            bars[list(COLUMNS)].reindex(timestamps).to_numpy(),
            np.array(checkpoint.golden.bars)[:, : len(COLUMNS)],
        )
    )


def checkpoint_parts(checkpoint: Checkpoint, bars: pd.DataFrame) -> Split:
    """Return the parts of a checkpoint as positions of the bars that decide.

    Its training and validation part, and all that follows `trained_until`.
    """
    # A decision at the very bar is allowed: its label was known then.
    after = int(bars.index.searchsorted(checkpoint.trained_until))
    return (
        checkpoint.part_rows("train", bars.index),
        checkpoint.part_rows("validation", bars.index),
        slice(after, len(bars)),
    )


def checkpoint_overlap(checkpoint: Checkpoint, bars: pd.DataFrame) -> LeakResult:
    """Check the borders of the parts that a checkpoint states.

    The last outcome must be known at `trained_until`.
    """
    timestamps, parts = pd.DatetimeIndex(bars.index), checkpoint_parts(checkpoint, bars)
    known = stamps_known(checkpoint.labelling, bars, timestamps)
    if checkpoint.label in MOVES:
        return detectors.overlap_leaks(parts, timestamps, known)
    # Between two windows of a part there may be one whose trade took longer: they are counted.
    tally, values = Tally("overlap"), checkpoint.labelling.labels(bars).values
    for name, part, later in zip(("train", "validation"), parts, parts[1:], strict=False):
        in_time = (known[part] <= timestamps[later.start]) & np.isfinite(values[part])
        tally.compare(
            [f"windows of the {name} part"],
            timestamps[part.stop - 1 : part.stop],
            np.array([[float(str(checkpoint.parts[name]["windows"]))]]),
            np.array([[float(in_time.sum())]]),
            "whose outcome is known when the next part begins",
        )
    return tally.result


def checkpoint_scaler(checkpoint: Checkpoint, bars: pd.DataFrame) -> LeakResult:
    """Fit the scaler again on the rows of the training part that a checkpoint states.

    It has the same numbers.
    """
    tally, training = Tally("scaler in checkpoints"), checkpoint_parts(checkpoint, bars)[0]
    span = checkpoint.sequence_length - 1
    layout = checkpoint.layout
    rows = checkpoint.engineer.transform(
        bars.iloc[training.start - span - layout.lookback + 1 : training.stop]
    )
    again = DataPreprocessor(checkpoint.sequence_length).fit_scaler(
        rows, slice(0, training.stop - training.start)
    )
    figures = scaler_figures(checkpoint.scaler), scaler_figures(again)
    tally.compare(
        scaler_items(layout.names),
        bars.index[training.stop - 1 : training.stop],
        *figures,
        "fitted on the training part of the checkpoint trained until "
        f"{day(checkpoint.trained_until)}",
    )
    return tally.result
