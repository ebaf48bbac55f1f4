"""The way from bars to training, through the detectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.lookahead import detectors
from backtests.lookahead.detectors import (
    POISON,
    LeakResult,
    Tally,
    Track,
)
from model.bars.faults import COLUMNS
from model.bars.intervals import day
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

TOLERANCE = 1e-6  # of a probability: torch sums in another order where a batch has another size

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


def stamps_known(
    labelling: Labelling, bars: pd.DataFrame, decided: pd.DatetimeIndex
) -> pd.DatetimeIndex:
    """Return when the labels of these decisions are known, NaT where they are not yet."""
    known = labelling.labels(bars).known[bars.index.get_indexer(decided)]
    return pd.DatetimeIndex(pd.Series(bars.index).reindex(known))
