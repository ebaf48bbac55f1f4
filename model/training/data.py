"""Training data: bars cut into windows, split by time into three parts, and scaled, each once."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from model.bars.faults import count
from model.bars.intervals import day
from model.bars.read import check_bars, require_bars, require_usual_spacing
from model.bars.universe import Universe, require_universe, universe_of
from model.checkpoint.scaler import Scaler
from model.errors import (
    BarsError,
    BarsWarning,
    FeatureError,
    LabelError,
    OneClassError,
    Setting,
)
from model.features.joining import context_of
from model.features.stability import TRIES, require_stable
from model.labels.moves import MOVES
from model.labels.own import served_label
from model.labels.stability import require_known_at_end
from model.training.config import TrainConfig
from model.training.outcomes import Outcomes, Unlabelled, first_entry, outcomes_of
from model.training.preprocessor import Integers, Split, calendar_mask, scaler_of
from model.training.windows import DateBatches, TimeSeriesDataset, Windows, as_run

FEWEST_PER_CLASS = 5  # windows of a part: with fewer a temperature or an AUC is a lottery
FEWEST_VALIDATED = 10  # windows

Loader = DataLoader[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Part:
    """The windows of one part in time order, with the outcome of each and the time of its decision.

    Of several instruments, windows that decide at the same time stand in the order of the names.

    Parameters
    ----------
    windows
        Cut from the scaled feature rows that they reach: (m, sequence_length, 86) float32.
    labels
        1.0 for up and 0.0 for not up: (m,).
    targets
        What training aims at, from 0 to 1 and on the label's side of one half: (m,).
    timestamps
        The bars at whose close the windows are complete: (m,).
    """

    windows: Windows
    labels: NDArray[np.float64]
    targets: NDArray[np.float64]
    timestamps: pd.DatetimeIndex

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def rows(self) -> NDArray[np.float32]:
        """The scaled rows that the windows reach, and of a universe those between them: (n, 86)."""
        return self.windows.rows

    @property
    def last_rows(self) -> NDArray[np.float32]:
        """The newest row of each window: (m, 86)."""
        return self.windows.last_rows

    @property
    def weights(self) -> NDArray[np.float64]:
        """How much each window counts where each date counts the same: (m,).

        They are 1 over the windows of its date.
        """
        _, date, counts = np.unique(self.timestamps, return_inverse=True, return_counts=True)
        weights: NDArray[np.float64] = 1.0 / counts[date]
        return weights

    def loader(self, outcomes: NDArray[np.float64], batch_size: int) -> Loader:
        """Deliver the windows in batches of whole dates in time order, each with its outcome.

        outcomes: the labels or the targets of this part.
        """
        windows = self.windows
        dataset = TimeSeriesDataset(windows.rows, outcomes, windows.sequence_length, windows.starts)
        return DataLoader(dataset, batch_sampler=DateBatches(self.timestamps, batch_size))


@dataclass(frozen=True)
class TrainingData:
    """Bars ready to train on. Windows are scaled and cut once, and every part is a view of them.

    Parameters
    ----------
    universe
        The bars by the instrument's name, in the order of the names.
    blocks
        Which of the feature rows are of which instrument.
    features
        The raw feature rows, one instrument after the other: (n, 86), on their bars' timestamps.
    starts
        The first row of each window, in the order of decision and name: (m,).
    labels, targets
        The outcomes of all windows in that order, those purged before a part included: (m,).
    split
        Which of the windows belong to training, validation and test.
    scaler
        Fitted on the rows that the training windows reach.
    trained_until
        The bar that the last label of training or validation waits for.
    unlabelled
        How many windows of a universe have no label.
    config
        The settings that the bars were prepared with.
    """

    universe: dict[str, pd.DataFrame]
    blocks: dict[str, slice]
    features: pd.DataFrame
    starts: Integers
    labels: NDArray[np.float64]
    targets: NDArray[np.float64]
    split: Split
    scaler: Scaler
    trained_until: pd.Timestamp
    unlabelled: Unlabelled
    config: TrainConfig

    @cached_property
    def train(self) -> Part:
        return self._part(self.split[0])

    @cached_property
    def validation(self) -> Part:
        return self._part(self.split[1])

    @cached_property
    def test(self) -> Part:
        """The windows that nothing is fitted on; none where the shares of the others sum to 1."""
        return self._part(self.split[2])

    @property
    def parts(self) -> dict[str, Part]:
        """The parts by name, in time order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def judged(self) -> dict[str, Part]:
        """The parts that a trained network is scored on: those after training that have windows."""
        return {name: part for name, part in self.parts.items() if name != "train" and len(part)}

    @property
    def training_features(self) -> NDArray[np.float64]:
        """The raw feature rows that the training windows reach; scaled ones would be clipped."""
        values = self.features.to_numpy()
        first, *others = (values[rows] for rows in self._reached(self.split[0]).values())
        # Of one instrument a view: of a million bars a copy takes 700 MB.
        return np.concatenate((first, *others)) if others else first

    @property
    def learnt(self) -> dict[str, pd.DataFrame]:
        """The bars of the instruments that have a window in training or validation."""
        known = {*self._reached(self.split[0]), *self._reached(self.split[1])}
        return {name: bars for name, bars in self.universe.items() if name in known}

    def _reached(self, windows: slice) -> dict[str, slice | Integers]:
        return rows_reached(self.blocks, self.starts[windows], self.config.sequence_length)

    # Of a million bars they take 350 MB: made when the first window is asked for, and never again.
    @cached_property
    def _rows(self) -> NDArray[np.float32]:
        rows = np.empty(self.features.shape, dtype=np.float32)
        values = self.features.to_numpy()
        for block in self.blocks.values():  # one after the other: a whole copy would take as much
            rows[block] = self.scaler.transform(values[block])
        return rows

    def _part(self, windows: slice) -> Part:
        starts, length = self.starts[windows], self.config.sequence_length
        first = int(starts.min(initial=len(self.features) - length))
        stop = int(starts.max(initial=first)) + length
        decided = pd.DatetimeIndex(self.features.index[starts + length - 1])
        return Part(
            Windows(self._rows[first:stop], length, starts - first),
            self.labels[windows],
            self.targets[windows],
            decided,
        )


def rows_reached(
    blocks: dict[str, slice], starts: Integers, length: int
) -> dict[str, slice | Integers]:
    """Return the rows that windows reach, by the name of each instrument that has one of them.

    They are a slice or, where windows without a label lie between them, the rows' numbers. starts:
    the first rows of the windows, of `length` rows each.
    """
    starts = np.sort(starts)
    borders = np.searchsorted(starts, [block.start for block in blocks.values()]).tolist()
    reached: dict[str, slice | Integers] = {}
    for name, first, stop in zip(blocks, borders, [*borders[1:], len(starts)], strict=True):
        own = starts[first:stop]
        if len(own):
            rows = np.arange(own[0], own[-1] + length)
            # A row belongs to a window that began at most `length` - 1 rows before.
            latest = own[np.searchsorted(own, rows, side="right") - 1]
            rows = rows[rows - latest < length]
            run = as_run(rows)
            reached[name] = rows if run is None else run
    return reached


def prepare(bars: pd.DataFrame | Universe, config: TrainConfig) -> TrainingData:
    """Make bars ready to train on: features, labels, soft targets, the purged split and the scaler.

    bars: of one instrument, or by name of several. Raises BarsError for unsound or too few bars,
    OneClassError where a part lacks a class.
    """
    universe = _usable(bars, config)
    if (own := config.labelling.own) is not None:
        require_known_at_end(served_label(own), universe)
    features, blocks = _feature_table(universe, config)
    outcomes, unlabelled = outcomes_of(universe, config)
    windows = _in_order(blocks, outcomes)
    if config.label in MOVES:  # the shares are of those that have one
        windows = windows[windows["labels"].notna()]
    kept, split = config.preprocessor.split_labelled(
        *(windows[name].to_numpy() for name in ("decided", "known", "labels"))
    )
    columns = ("known", "labels", "targets", "starts")
    known, labels, targets, starts = (windows[name].to_numpy()[kept] for name in columns)
    _require_windows(split, config, unlabelled)
    for name, part in zip(("train", "validation"), split[:2], strict=True):
        _require_both_classes(name, labels[part], config)
    reached = rows_reached(blocks, starts[split[0]], config.sequence_length)
    # The scaler sees the rows of training windows alone: a later mean would tell of the future.
    times = [features.index[rows] for rows in reached.values()]
    scaler = scaler_of(
        (features.to_numpy()[rows] for rows in reached.values()),
        calendar_mask(times[0].append(times[1:]), features.columns),
    )
    return TrainingData(
        universe,
        blocks,
        features,
        starts,
        labels,
        targets,
        split,
        scaler,
        # Of validation too: early stopping, thresholds and temperature have looked at it.
        pd.Timestamp(int(max(known[part].max() for part in split[:2]))),
        unlabelled,
        config,
    )


def _in_order(blocks: dict[str, slice], outcomes: dict[str, Outcomes]) -> pd.DataFrame:
    """Return all windows in the order of decision and name, with their first rows."""
    windows = pd.DataFrame(
        {
            name: np.concatenate([getattr(own, name) for own in outcomes.values()])
            for name in Outcomes._fields
        }
    )
    # Window i of an instrument begins with its row i.
    windows["starts"] = np.concatenate(
        [
            block.start + np.arange(len(own.labels))
            for block, own in zip(blocks.values(), outcomes.values(), strict=True)
        ]
    )
    # Stable: what decides at the same time stays in the order of the names.
    return windows.sort_values("decided", kind="stable")


def _usable(bars: pd.DataFrame | Universe, config: TrainConfig) -> dict[str, pd.DataFrame]:
    """Return sound bars by name; those too short for a window are left out with a warning."""
    universe = universe_of(bars)
    if isinstance(bars, pd.DataFrame):
        if config.outcome == "relative":
            raise ValueError(
                "`outcome` must be 'direction' for the bars of one instrument, got 'relative': "
                "there are no others to compare it with. Give several by name."
            )
        check_bars(bars)  # a caller of Python may not have read them by `read_bars`
        require_enough_bars(bars, config)
        require_usual_spacing(bars)
        return universe
    require_universe(universe, config.fewest_instruments)
    needed = first_entry(config) + config.labelling.wait
    short = [f"{name} ({len(own)})" for name, own in universe.items() if len(own) < needed]
    if short:
        told = f"too few bars for a labelled window, which needs {needed}: {', '.join(short)}"
        universe = {name: own for name, own in universe.items() if len(own) >= needed}
        if len(universe) < config.fewest_instruments:
            raise BarsError(
                f"{told}; {count(len(universe), 'instrument')} are left, and there must be at "
                f"least {config.fewest_instruments} (",
                Setting("fewest_instruments"),
                "). Give more bars.",
            )
        warnings.warn(BarsWarning(f"left out, {told}."), stacklevel=4)
    return universe


def _feature_table(
    universe: dict[str, pd.DataFrame], config: TrainConfig
) -> tuple[pd.DataFrame, dict[str, slice]]:
    """Return the feature rows of all instruments, one after the other, and which are whose.

    Raises FeatureError for a feature of one's own that depends on more than its trailing bars, or
    has no number somewhere.
    """
    engineer = config.engineer(context_of(universe))
    require_stable(engineer.own, universe)
    before = engineer.lookback - 1
    stops = np.cumsum([len(bars) - before for bars in universe.values()]).tolist()
    blocks = {
        name: slice(start, stop)
        for name, start, stop in zip(universe, [0, *stops], stops, strict=False)
    }
    # One table, filled in turn: tables that are joined later would be held twice.
    rows = np.empty((stops[-1], len(engineer.names)))
    for name, bars in universe.items():
        rows[blocks[name]] = engineer.transform(bars)
    first, *others = (pd.DatetimeIndex(bars.index)[before:] for bars in universe.values())
    table = pd.DataFrame(
        rows, first.append(others) if others else first, pd.Index(engineer.names), copy=False
    )
    if engineer.own or engineer.context:
        _require_numbers(table, blocks)
    return table, blocks


def _require_numbers(table: pd.DataFrame, blocks: dict[str, slice]) -> None:
    """Require a number of every feature at every bar that has enough bars before it."""
    missing = table.isna()
    faulty = [str(name) for name in table.columns[missing.any()]]
    if not faulty:
        return
    # Columns of other series alone have a colon in their name.
    remedy = (
        "Give more bars of that series, or the bars from where it is known."
        if ":" in faulty[0]
        else "Let its transform say what stands there (fillna(0), a denominator that is never 0)."
    )
    row = int(missing[faulty[0]].to_numpy().argmax())
    [instrument] = [name for name, block in blocks.items() if block.start <= row < block.stop]
    where = f"{day(table.index[row])} of {instrument}" if len(blocks) > 1 else day(table.index[row])
    raise FeatureError(
        f"features must be finite numbers at every bar with enough bars before it, got others in "
        f"{', '.join(faulty[:3])}, {count(int(missing.to_numpy().sum()), 'value')} in all, the "
        f"first at {where}. {remedy}"
    )


def _require_windows(split: Split, config: TrainConfig, unlabelled: Unlabelled) -> None:
    """Require windows for one batch and for validation, of those that have a label."""
    train, validation = (part.stop - part.start for part in split[:2])
    if train + validation == 0 and config.labelling.own is not None:
        raise LabelError(
            f"the label {config.labelling.own.name!r} must be 1 or 0 at some bars that have a "
            "window, got NaN at all of training and validation. Mend its transform, or give more "
            "bars."
        )
    if train < config.batch_size or validation < FEWEST_VALIDATED:
        raise BarsError(
            f"the training part must hold a batch of {config.batch_size} windows and validation "
            f"{FEWEST_VALIDATED}, got {train} and {validation}{describe_unlabelled(unlabelled)}. "
            "Give more bars, or lower ",
            Setting("batch_size"),
            ".",
        )


def describe_features(config: TrainConfig) -> str:
    """Return how features of one's own were tried, in words, "" where there are none."""
    own = ", ".join(str(one.record) for one in config.own if not one.record.exact)
    if not own:
        return ""
    return (
        f"features of your own: {own}, tried at {TRIES} random starts, ends and chunk sizes and in "
        "a fresh process, which is a sample; backtests/audit.py goes over every bar"
    )


def describe_labels(universe: Universe, config: TrainConfig) -> str:
    """Return what the labels of bars are about, and which windows have none, in words."""
    wait = f"{count(config.labelling.wait, 'window')} must wait for one and are left out"
    if config.outcome == "relative":
        _, unlabelled = outcomes_of(universe, config)
        about = "above or below the median move of the others"
        return f"{about}; the last {wait}{describe_unlabelled(unlabelled)}"
    labels = [config.labelling.labels(own) for own in universe.values()]
    values, tied, ambiguous = (
        np.concatenate([getattr(one, part) for one in labels])
        for part in ("values", "tied", "ambiguous")
    )
    known = np.isfinite(values)
    if config.label in MOVES:
        return f"{tied[known].mean():.2%} of the moves are 0 and count as not up; the last {wait}"
    share = f"{values[known].sum() / max(1, known.sum()):.2%} of the"
    if config.labelling.own is not None:
        return (
            f"{share} labels are 1; {count(int((~known).sum()), 'window')} have none yet, or at all"
        )
    told = describe_unlabelled(Unlabelled(both_levels=int(ambiguous.sum())))
    return f"{share} trades gain after costs; of the last windows up to {wait}{told}"


def describe_unlabelled(unlabelled: Unlabelled) -> str:
    """Return how many windows have no label, in words, "" where all have one."""
    why = (
        "entered or left at other times than most of their date",
        "of dates on which too few instruments can be compared",
        "whose move is the median of the others",
        "of which one bar reaches both levels",
    )
    parts = [
        f"{count(number, 'window')} {words}"
        for number, words in zip(unlabelled, why, strict=True)
        if number
    ]
    return f"; without a label are {', '.join(parts)}" if parts else ""


def describe_purge(config: TrainConfig, unit: str = "window") -> str:
    """Return how much is left out between two parts, in words, and why.

    unit: "date" for several instruments; more of them where one misses bars just then.
    """
    most = "up to " if config.label not in MOVES else ""
    purged = f"{most}{count(config.labelling.wait - 1, unit)}"
    if config.labelling.own is not None:
        purged = f"each {unit}"
    return f"{purged} before each later part, whose outcome is not known when that part begins"


def _require_both_classes(part: str, labels: NDArray[np.float64], config: TrainConfig) -> None:
    ups = int(labels.sum())
    downs = len(labels) - ups
    if min(ups, downs) < FEWEST_PER_CLASS:
        # Of bars that move a label of one's own may still be the same at all of them.
        found, remedy = (
            (f"{ups} labelled 1 and {downs} labelled 0", "a label that is both now and then")
            if config.labelling.own is not None
            else (f"{ups} up and {downs} not up", "bars that move")
        )
        raise OneClassError(
            f"the {part} part must hold at least {FEWEST_PER_CLASS} windows of each class, "
            f"got {found}. Give more bars, or {remedy}."
        )


def require_enough_bars(bars: pd.DataFrame, config: TrainConfig) -> None:
    """Require bars for one batch to train on and for a validation part.

    Raises BarsError with the number needed and the settings of which a lower one would do.
    """
    preprocessor, batch_size = config.preprocessor, config.batch_size
    fewest = {
        "batch_size": preprocessor.bars_needed(1),
        "sequence_length": replace(preprocessor, sequence_length=1).bars_needed(batch_size),
    }
    # Only settings that would help alone are named.
    helping = [name for name, bars_needed in fewest.items() if bars_needed <= len(bars)]
    purpose = f"for a training part of one batch of {batch_size} windows"
    require_bars(bars, preprocessor.bars_needed(batch_size), purpose, helping)
