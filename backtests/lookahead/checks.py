"""What of the project goes through the detectors.

The way from bars to training, and trained networks.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.lookahead import detectors
from backtests.lookahead.detectors import (
    POISON,
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
from model.features.joining import context_of, join_bars
from model.features.series import OWN, Clock
from model.features.stability import fresh_rows, tolerances
from model.features.table import LOOKBACK, FeatureEngineer
from model.labels.labelling import Labelling
from model.labels.moves import MOVES
from model.metrics import auc
from model.settings import require, whole
from model.training.calibration import fit_logistic
from model.training.data import TrainingData, prepare
from model.training.preprocessor import DataPreprocessor, Split
from strategy_plugin.guard import TradingWarning

TOLERANCE = 1e-6  # of a probability: torch sums in another order where a batch has another size
# Of probability, equity, position; size, price, commission of an order.
TRADED = (TOLERANCE, 0.0, 0.0, 0.0, 0.0, 0.0)
FEW_AHEAD = 5  # poisoned bars behind a window: each is another window to compute
NUDGE = 1.01  # a poison for orders: a gap so small that what was ordered can still be paid

Step = Callable[[Track], LeakResult]


@dataclass(frozen=True)
class Cuts:
    """Positions of bars behind which there will be another future, drawn with a seed."""

    count: int = 50
    seed: int = 1

    def __post_init__(self) -> None:
        require({"cuts": self.count, "seed": self.seed}, {"cuts": whole(1), "seed": whole(0)})

    def between(self, first: int, last: int, besides: Sequence[int] = ()) -> list[int]:
        """Return `first`, those of `besides` behind it, and others drawn up to `last`, in order."""
        # The first cut is always among them: there the warm-up ends, and mistakes gather.
        others = np.arange(first + 1, last + 1)
        drawn = np.random.default_rng(self.seed).choice(
            others, min(self.count - 1, len(others)), replace=False
        )
        return sorted({first, *drawn.tolist(), *(cut for cut in besides if first < cut <= last)})


@dataclass(frozen=True)
class PipelineChecks:
    """The way from bars to what training is given.

    series: the bars of the series that were joined, by name, and under "self" those of the
    instrument, of which joining left the first out.
    """

    bars: pd.DataFrame
    data: TrainingData
    cuts: Cuts
    series: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def steps(self) -> dict[str, Step]:
        """Return the checks by name."""
        ours: dict[str, Step] = {"features": self.features, "features, whole history": self.history}
        if self.data.config.only:
            ours = {}
        if self.data.config.features:
            ours["features of one's own"] = self.own_features
            ours["the same, in a fresh process"] = self.fresh_features
        if context_of(self.bars):
            ours["other series"] = self.other_series
        return ours | {
            "labels": self.labels,
            "labels of windows": partial(self._window_labels, "labels of windows"),
            "targets of windows": partial(self._window_labels, "targets of windows"),
            "targets when known": self.known_targets,
            "overlap": self.overlap,
            "scaler": self.scaler,
            "scaler of training": self.preparation,
            "shuffled labels": self.shuffled,
        }

    def features(self, track: Track) -> LeakResult:
        return detectors.window_leaks(
            "features", FeatureEngineer().transform, self.bars, LOOKBACK, track=track
        )

    def history(self, track: Track) -> LeakResult:
        cuts = self.cuts.between(LOOKBACK - 1, len(self.bars) - 2)
        return detectors.history_leaks(
            "features, whole history", FeatureEngineer().transform, self.bars, cuts, track=track
        )

    def own_features(self, track: Track) -> LeakResult:
        """Check the features of one's own at every bar, to the tolerance that they are held to."""
        engineer = FeatureEngineer(self.data.config.own, only=True)
        return detectors.window_leaks(
            "features of one's own",
            engineer.transform,
            self.bars,
            engineer.lookback,
            tolerance=tuple(tolerances(engineer.transform(self.bars).to_numpy()).tolist()),
            track=track,
        )

    def fresh_features(self, _: Track) -> LeakResult:
        """Show each bar's own past to a process that never saw a later one, as live."""
        tally = Tally("the same, in a fresh process")
        for known in self.data.config.own:
            engineer = FeatureEngineer([known], only=True)
            rows = engineer.transform(self.bars)
            first = len(self.bars) - len(rows)
            asked = [(0, position) for position in range(first, len(self.bars))]
            found = fresh_rows(known, [self.bars[list(COLUMNS)]], asked)
            tally.compare(
                list(engineer.names),
                rows.index,
                rows.to_numpy(),
                found,
                "where no later bar was ever shown",
                tuple(tolerances(rows.to_numpy()).tolist()),
            )
        return tally.result

    def other_series(self, track: Track) -> LeakResult:
        """Join again with other bars wherever one was not complete at the cut's decision."""
        record, tally = context_of(self.bars), Tally("other series")
        assert record is not None  # asked for only then
        full = self.bars[list(record.names)].to_numpy()
        stamps = pd.DatetimeIndex(self.bars.index).as_unit("ns").asi8
        decided = record.clock.known(stamps)
        for cut in track(self.cuts.between(0, len(self.bars) - 2)):
            others = {
                one.name: _poisoned_after(self.series[one.name], one.clock, int(decided[cut]))
                for one in record.series
                if one.name in record.others
            }
            # Slower bars are made of the instrument's own, and may not know its future either.
            own = _poisoned_after(self.series[OWN], record.clock, int(decided[cut]))
            again = join_bars(own, record, others).rows[-len(self.bars) :]
            tally.compare(
                list(record.names),
                self.bars.index[: cut + 1],
                full[: cut + 1],
                again[: cut + 1],
                f"with other bars that were not complete at {day(self.bars.index[cut])}",
            )
        return tally.result

    def labels(self, _: Track) -> LeakResult:
        labels = self.data.config.labelling.labels(self.bars)
        return self._recomputed("labels", pd.Series(labels.values, self.bars.index))

    def _recomputed(self, name: str, decided: pd.Series) -> LeakResult:
        """Compute labels again: moves from their prices, others from the bars up to their end."""
        labelling = self.data.config.labelling
        if labelling.label in detectors.OUTCOMES:
            asked = labelling.label, labelling.horizon
            return detectors.label_leaks(decided, self.bars, *asked, name)
        return detectors.ended_label_leaks(
            decided, labelling.labels, self.bars, self.cuts.count, name
        )

    def known_targets(self, track: Track) -> LeakResult:
        """Put each label and target on the bar at which it is known: no later bar may move it."""
        config = self.data.config

        def known(bars: pd.DataFrame) -> pd.DataFrame:
            labels = config.labelling.labels(bars, config.label_softness)
            # Several may be known at once, and those of a cut history are fewer.
            there = np.flatnonzero(labels.known < len(bars))
            order = there[np.argsort(labels.known[there], kind="stable")]
            table = {
                "decided": order,
                "label": labels.values[order],
                "target": labels.targets[order],
            }
            return pd.DataFrame(table, bars.index[labels.known[order]])

        cuts = self.cuts.between(config.labelling.wait, len(self.bars) - 2)
        return detectors.history_leaks("targets when known", known, self.bars, cuts, track=track)

    def _window_labels(self, name: str, _: Track) -> LeakResult:
        """Check what the loss is computed from: however soft, a target is on its label's side."""
        soft = name.startswith("targets")
        labels = (self.data.targets > 0.5).astype(float) if soft else self.data.labels
        return self._recomputed(name, pd.Series(labels, index=self.decided[self.data.starts]))

    def overlap(self, _: Track) -> LeakResult:
        decided = self.decided[self.data.starts]
        return detectors.overlap_leaks(
            self.data.split, decided, stamps_known(self.data.config.labelling, self.bars, decided)
        )

    def scaler(self, track: Track) -> LeakResult:
        # The slice, not the rows: whether it looks beyond them is the question.
        fit, train = self.data.config.preprocessor.fit_scaler, self.data.split[0]
        return detectors.scaler_leaks(
            lambda rows: fit(rows, train), self.data.features, self.reached, track=track
        )

    def preparation(self, track: Track) -> LeakResult:
        # Feature row i is of bar i + lookback - 1: this is the bar of the last row reached.
        last = self.reached + self.data.config.lookback - 2
        if self.data.config.label not in MOVES:
            # Which of its trades are over is known when validation begins.
            last = int(self.bars.index.get_indexer(self.data.validation.timestamps[:1])[0])
        return detectors.preparation_leaks(
            lambda bars: prepare(bars, self.data.config).scaler,
            self.bars,
            self.cuts.between(last, len(self.bars) - 2),
            self.data.features.columns,
            track=track,
        )

    def shuffled(self, track: Track) -> LeakResult:
        labels, test = self.data.labels, self.data.split[2]
        return detectors.shuffled_label_leaks(
            lambda shuffled: last_row_auc(self.data, shuffled), labels, test, track=track
        )

    @property
    def decided(self) -> pd.DatetimeIndex:
        """The timestamps of the bars that decide: window i at the i-th of them."""
        return pd.DatetimeIndex(self.data.features.index[self.data.config.sequence_length - 1 :])

    @property
    def reached(self) -> int:
        """How many feature rows the training windows reach."""
        return len(self.data.train.rows)


def _poisoned_after(bars: pd.DataFrame, clock: Clock, moment: int) -> pd.DataFrame:
    """Return bars with other ones where they were not complete at a moment, in nanoseconds."""
    known = clock.known(pd.DatetimeIndex(bars.index).as_unit("ns").asi8)
    table = bars[list(COLUMNS)] * np.where(known > moment, POISON, 1.0)[:, None]
    table.attrs = bars.attrs
    return table


def last_row_auc(data: TrainingData, labels: NDArray[np.float64]) -> float:
    """Train a logistic regression on the last rows of the training windows.

    Return its AUC on the test part.
    """
    training, _, test = data.split
    model = fit_logistic(data.train.last_rows, labels[training])
    area = auc(labels[test], model.decision_function(data.test.last_rows))
    assert area is not None  # the detector's bound has divided by the number of each class
    return area


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


def stamps_known(
    labelling: Labelling, bars: pd.DataFrame, decided: pd.DatetimeIndex
) -> pd.DatetimeIndex:
    """Return when the labels of these decisions are known, NaT where they are not yet."""
    known = labelling.labels(bars).known[bars.index.get_indexer(decided)]
    return pd.DatetimeIndex(pd.Series(bars.index).reindex(known))


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
