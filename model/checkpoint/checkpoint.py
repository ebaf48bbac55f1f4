"""A trained model with all that serving it needs, and the way from bars to a probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from msgspec import UNSET
from numpy.typing import NDArray

from model.bars.artefacts import FlagRecord
from model.bars.intervals import bar_interval, day, spoken
from model.bars.read import check_bars, require_bars
from model.checkpoint.format import (
    NO_DIGEST,
    checkpoint_errors,
    decode,
    encode,
    member_record,
    read_file,
)
from model.checkpoint.matching import matched, require_same_values
from model.checkpoint.member import Forecast, Member, probability_of
from model.checkpoint.record import FORMAT, UNSAID, Golden, Record
from model.checkpoint.scaler import Scaler, UsualRanges
from model.errors import BarsError, CheckpointError
from model.features.context import titles
from model.features.own import FeatureRecord
from model.features.series import ContextRecord
from model.features.table import FeatureEngineer, Layout, cut_windows, layout
from model.files import write_atomically
from model.labels.barrier import Barrier
from model.labels.labelling import Labelling
from model.labels.own import LabelRecord
from model.notebook import card
from model.runtime import Precision


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Checkpoint:
    """One trained network, or several that forecast together, with all that serving them needs.

    Parameters
    ----------
    members
        The networks; the probability is that of their mean calibrated logit.
    scaler
        What raw features go through before the networks see them.
    label, horizon, barrier, own_label
        What a probability is about, as in `TrainConfig`; barrier: the levels and costs of a trade;
        own_label: name, parameters and the digest of the source of a label of one's own. Forecasts
        need no label.
    outcome
        "direction": that the price rises; "relative": that it rises more than the median of the
        other instruments of a universe.
    sequence_length
        Feature rows of a window.
    enter, exit
        Thresholds chosen in training, None where none were.
    trained_until
        The timestamp of the latest bar of which any price entered training or validation; a
        decision at an earlier close would look ahead.
    instrument
        Its name, None where the bars had none or are of several instruments.
    instruments
        The SHA-256 of the bars of each instrument that it learnt from, by name; None where it is
        not known. It may forecast others: `trained_until` holds for them by date.
    bar_interval
        The usual distance of two bars.
    timezone
        Of the bars' timestamps, None where the bars stated none.
    stamp
        "open" or "close": which end of a bar its timestamp marks.
    parts
        Dates and shares of each part.
    metrics
        The scores of all members together.
    config
        The settings of training.
    versions
        Of the libraries that trained it.
    golden
        A window that must come out the same wherever it is served.
    usual
        The range of each feature in training.
    hours
        (24,), the share of the bars of training in each hour of the day; None for bars of a day or
        longer, and where it is not known.
    features
        What is known of the features of one's own: name, parameters, columns and the digest of
        their source. They themselves are supplied by whoever serves it.
    only
        Whether our 86 are left out.
    context
        The other series whose columns stand beside the bars, None without any.
    flags
        What the bars of training say against themselves, as `read_bars` keeps it in their attrs;
        None where it is not known.
    prices
        What kind of prices the bars have, in the words of who brought them, such as "alpaca iex
        raw"; None where it is not known.
    format
        Of the file: one that was read keeps its own, and with it its digest.

    Examples
    --------
    >>> checkpoint = Checkpoint.load("nasdaq.ckpt")
    >>> probabilities = checkpoint.probabilities(bars)
    >>> probabilities.index[0] == bars.index[checkpoint.bars_needed - 1]
    True
    """

    members: tuple[Member, ...]
    scaler: Scaler
    label: str
    horizon: int
    sequence_length: int
    enter: float | None
    exit: float | None
    trained_until: pd.Timestamp
    instrument: str | None
    bar_interval: pd.Timedelta
    timezone: str | None
    stamp: str
    parts: dict[str, dict[str, str | float | int | None]]
    metrics: dict[str, float | None]
    config: dict[str, str | float | int | bool | None]
    versions: dict[str, str]
    golden: Golden | None = None
    usual: UsualRanges | None = None
    outcome: str = "direction"
    instruments: dict[str, str] | None = None
    hours: tuple[float, ...] | None = None
    flags: tuple[FlagRecord, ...] | None = None
    features: tuple[FeatureRecord, ...] = ()
    only: bool = False
    context: ContextRecord | None = None
    prices: str | None = None
    barrier: Barrier | None = None
    own_label: LabelRecord | None = None
    format: int = FORMAT

    def __repr__(self) -> str:
        # The fields hold every weight. A checkpoint that no file can hold has no digest, but must
        # be printed all the same, by whoever looks for the reason.
        try:
            digest = self.digest[:12]
        except CheckpointError:
            digest = None
        names = [member.name for member in self.members]
        several = len(self.instruments or ())
        learnt = f"instruments={several}" if several > 1 else f"instrument={self.instrument!r}"
        return (
            f"Checkpoint({learnt}, bar_interval={spoken(self.bar_interval)!r}, "
            f"label={self.label!r}, members={names}, trained_until={str(self.trained_until)!r}, "
            f"digest={digest!r})"
        )

    def _repr_html_(self) -> str:
        tables = pd.DataFrame(self.parts), pd.DataFrame({"score": self.metrics}, dtype=float)
        return card(repr(self), f"trained until {day(self.trained_until)}", *tables)

    def save(self, path: str | Path) -> None:
        """Write the file in one step that survives a crash.

        Parameters
        ----------
        path
            Where to; a file that is there is replaced.

        Raises
        ------
        OutputError
            Where it cannot be written.
        CheckpointError
            With what could not be loaded again; then nothing is written.
        """
        # Encoded, and so checked, before anything is written: a refusal leaves the old file.
        write_atomically(path, self._encoded[0])

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read a file that `save` wrote. No content can run code: it holds numbers and words only.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        Checkpoint
            Equal, bit by bit, to the one that was saved.

        Raises
        ------
        CheckpointError
            Naming the file and the reason, unless the digest, the features, the networks' shapes
            and dtypes, and every number are in order; and where it needs features of one's own
            that are not known here, or are others than in training.
        """
        # The names of the record's entries are those of our fields; three are of another type.
        data = read_file(path)
        with checkpoint_errors(str(path)):
            record, members = decode(data)
        content = {field.name: getattr(record, field.name) for field in fields(cls)} | {
            "trained_until": pd.Timestamp(record.trained_until),
            "bar_interval": pd.Timedelta(seconds=record.bar_interval),
            "members": members,
            **{name: getattr(record, name) or None for name in UNSAID},
        }
        checkpoint = cls(**content)
        with checkpoint_errors(str(path)):
            require_same_values(checkpoint, matched(record.features))
        return checkpoint

    @cached_property
    def _encoded(self) -> tuple[bytes, str]:
        content = {field.name: getattr(self, field.name) for field in fields(self)} | {
            "trained_until": str(self.trained_until),
            "bar_interval": self.bar_interval.total_seconds(),
            "members": tuple(member_record(member) for member in self.members),
            **{name: UNSET for name in UNSAID if getattr(self, name) is None},
        }
        record = Record(digest=NO_DIGEST, feature_names=self.layout.names, **content)
        return encode(record, self.members)

    @property
    def labelling(self) -> Labelling:
        """What a probability is about, as bars are labelled with it."""
        return Labelling(self.label, self.horizon, self.barrier, self.own_label)

    @property
    def digest(self) -> str:
        """The SHA-256 over the whole file, as hex: the same for the same training."""
        return self._encoded[1]

    @property
    def bars_needed(self) -> int:
        """How many bars make the first probability."""
        return self.layout.lookback + self.sequence_length - 1

    @property
    def layout(self) -> Layout:
        """The columns of its feature rows, and the bars behind one."""
        return layout(self.features, only=self.only, context=self.context)

    @property
    def engineer(self) -> FeatureEngineer:
        """What turns bars into its feature rows.

        Raises CheckpointError where it needs features of one's own that are not known here.
        """
        return FeatureEngineer(matched(self.features), only=self.only, context=self.context)

    @property
    def feature_sets(self) -> list[str]:
        """What its feature rows are made of: ours, those of one's own, those of other series."""
        ours = () if self.only else ("86 of ours",)
        return [*ours, *map(str, self.features), *(titles(self.context) if self.context else ())]

    def part_rows(self, part: str, index: pd.Index[pd.Timestamp]) -> slice:
        """Return where a part's decisions lie among these bars.

        The checkpoint states its parts by date: positions depend on the bars given.

        Parameters
        ----------
        part
            "train", "validation" or "test".
        index
            The timestamps of the bars.

        Returns
        -------
        slice
            From the part's first decision to its last.
        """
        first, last = (pd.Timestamp(str(self.parts[part][end])) for end in ("first", "last"))
        # Of a universe these bars may lack either date.
        return slice(int(index.searchsorted(first)), int(index.searchsorted(last, "right")))

    def probabilities(self, bars: pd.DataFrame) -> pd.Series:
        """Return the probability of "up" decided at each bar's close.

        Parameters
        ----------
        bars
            At least `bars_needed`, as `read_bars` gives them, and `add_context` where it needs
            other series.

        Returns
        -------
        Series
            From the first bar that has its whole window: the index is `bars.index[149:]`. NaN where
            a feature of one's own, or another series, gives no number in the window.

        Raises
        ------
        BarsError
            For too few or unsound bars.
        CheckpointError
            Where interval, time zone or stamp are others than in training.
        """
        bars = check_bars(bars)
        rows = self.sequence_length - 1
        parts = f"{self.layout.lookback} for the features and {rows} for the window"
        require_bars(bars, self.bars_needed, parts)
        self.require_interval(bar_interval(pd.DatetimeIndex(bars.index)))
        # Where training stated no time zone there is nothing to compare with.
        timezone = bars.attrs.get("timezone") if self.timezone else None
        self.require_clock(timezone, bars.attrs.get("stamp"))
        features = self.engineer.transform(bars)
        return pd.Series(
            self.predict(features.to_numpy()), index=features.index[rows:], name="probability"
        )

    def scores(self, universe: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Return the probability of each instrument decided at each close: what a book ranks by.

        Parameters
        ----------
        universe
            The bars of each instrument by name, as `read_bars` gives them: those of training or
            others.

        Returns
        -------
        DataFrame
            (dates, names), the names in order, on every date on which one of them has its whole
            window; NaN where another has none, or no bar.

        Raises
        ------
        BarsError
            For unsound bars of one of them, or where none has enough.
        CheckpointError
            Where interval, time zone or stamp of one are others than in training.
        """
        columns = []
        for name, bars in sorted(universe.items()):
            # One that is too young has no forecast, and costs the others none.
            if len(bars) >= self.bars_needed:
                try:
                    columns.append(self.probabilities(bars).rename(name))
                except BarsError as error:
                    raise BarsError(f"{name}: ", *error.args) from error
                except CheckpointError as error:
                    raise CheckpointError(f"{name}: {error}") from error
        if not columns:
            raise BarsError(
                f"one instrument must have at least {self.bars_needed} bars, "
                f"got {', '.join(f'{name} ({len(bars)})' for name, bars in universe.items())}. "
                "Give more bars."
            )
        # Also those without any forecast: whoever ranks counts them as missing, not as unknown.
        return pd.concat(columns, axis=1, sort=True).reindex(columns=sorted(universe))

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of "up" for each window of raw feature rows.

        Parameters
        ----------
        features
            As `FeatureEngineer` gives them: (n, 86), at least `sequence_length` rows.

        Returns
        -------
        array
            (n - sequence_length + 1,), from 0 to 1; the first is of the window of the first rows.
        """
        return self.forecast(features).probability

    def forecast(self, features: NDArray[np.float64], precision: Precision = "fp32") -> Forecast:
        """Return what the members forecast for each window of raw feature rows.

        The one way from features to probability in backtest and live; training asks the same
        members.

        Parameters
        ----------
        features
            (n, 86), at least `sequence_length` rows.
        precision
            In bf16 it is faster where the processor has it, and a window's bits depend on how many
            are computed at once.

        Returns
        -------
        Forecast
            Of the (n - sequence_length + 1) windows.

        Raises
        ------
        ValueError
            For fewer rows than one window.
        """
        logits = self._members_logits(features, precision)
        out_of_range = np.zeros(logits.shape[1])
        if self.usual is not None:
            out_of_range = self.usual.out_of_range(features, self.sequence_length)
        # The spread of probabilities, not of logits: it is what a threshold is compared with.
        disagreement = probability_of(logits).std(axis=0)
        return Forecast(probability_of(logits.mean(axis=0)), disagreement, out_of_range)

    def logits(
        self, features: NDArray[np.float64], precision: Precision = "fp32"
    ) -> NDArray[np.float64]:
        """Return the mean calibrated logits, of which `predict` makes probabilities.

        Parameters
        ----------
        features
            As `FeatureEngineer` gives them: (n, 86), at least `sequence_length` rows.
        precision
            As in `forecast`.

        Returns
        -------
        array
            (n - sequence_length + 1,), the log of the odds of "up": 0 is a probability of one half.
        """
        return np.asarray(self._members_logits(features, precision).mean(axis=0))

    def _members_logits(
        self, features: NDArray[np.float64], precision: Precision
    ) -> NDArray[np.float64]:
        """Return each member's calibrated logits, (members, windows)."""
        if len(features) < self.sequence_length:
            raise ValueError(
                f"`features` must have at least {self.sequence_length} rows, got {len(features)}."
            )
        rows = self.scaler.transform(features)
        windows = torch.from_numpy(cut_windows(rows, self.sequence_length))
        return np.stack([member.logits(windows, precision) for member in self.members])

    def require_interval(self, interval: pd.Timedelta) -> None:
        """Refuse bars of another interval than those of training.

        Parameters
        ----------
        interval
            The usual distance of two bars.

        Raises
        ------
        CheckpointError
            With both intervals.
        """
        if interval != self.bar_interval:
            raise CheckpointError(
                f"the checkpoint was trained on bars of {spoken(self.bar_interval)}, "
                f"got bars of {spoken(interval)}. "
                "Give bars of that interval or train on these."
            )

    def require_clock(self, timezone: str | None, stamp: str | None) -> None:
        """Refuse bars whose time zone or stamp is stated otherwise than in training.

        Parameters
        ----------
        timezone
            Of the bars' timestamps, None where it is not stated.
        stamp
            "open" or "close", None where it is not stated.

        Raises
        ------
        CheckpointError
            With what is stated and what training had.
        """
        for name, stated in (("timezone", timezone), ("stamp", stamp)):
            trained = getattr(self, name)
            if stated is not None and stated != trained:
                raise CheckpointError(
                    f"`{name}` must be {trained!r} as in training, got {stated!r}. "
                    "Convert the bars, or train on bars such as these."
                )
