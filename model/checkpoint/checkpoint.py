"""A trained network with all that serving it needs: saved in one step, loaded without running code, the way to a probability."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from model.bars.intervals import spoken
from model.bars.read import bar_interval, check_bars, require_bars
from model.checkpoint.format import (
    FORMAT,
    NO_DIGEST,
    Golden,
    Record,
    decode,
    encode,
    read_file,
    require_loadable,
    words_of,
)
from model.checkpoint.member import Member, cut_windows, probability_of
from model.checkpoint.scaler import Scaler, UsualRanges
from model.errors import CheckpointError
from model.features.table import FEATURE_NAMES, LOOKBACK, FeatureEngineer
from model.files import write_atomically
from model.runtime import Precision

__all__ = ["Checkpoint", "CheckpointError", "Forecast", "Golden", "Member"]


class Forecast(NamedTuple):
    """What is said of windows, (n,) each: the probability of "up"; how far the members disagree about it, the standard
    deviation of their own probabilities, 0 for a single one; and the share of a window's values outside of their usual range
    in training, 0 where that is not known."""

    probability: NDArray[np.float64]
    disagreement: NDArray[np.float64]
    out_of_range: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """One trained network, or several that are asked together, and all that is needed to serve them.

    members: the networks; the probability is that of their mean calibrated logit. label, horizon: what a probability is
    about (`make_labels`). enter, exit: thresholds chosen in training, None where none were. trained_until: the stamp of the
    latest bar of which any price entered training or validation; a decision at an earlier close would look ahead.
    bar_interval, timezone, stamp: the clock of the bars. parts: dates and shares of each part. metrics: of all together.
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

    def save(self, path: str | Path) -> None:
        """Write the file in one step that survives a crash.

        Raises OutputError where that is impossible, CheckpointError with what cannot be written.
        """
        data = self._file
        require_loadable(data)  # what could not be loaded is never written
        write_atomically(path, data)

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read a file that `save` wrote.

        No content can run code (safetensors holds numbers only). Raises CheckpointError, naming the file and the reason,
        unless the digest, the features, the networks' shapes and dtypes, and every number are in order.
        """
        record, members = decode(read_file(path), str(path))
        own = {field.name: getattr(record, field.name) for field in fields(cls)}
        own |= {
            "trained_until": pd.Timestamp(record.trained_until),
            "bar_interval": pd.Timedelta(seconds=record.bar_interval),
        }
        return cls(**own | {"members": members})

    @cached_property
    def digest(self) -> str:
        """The SHA-256 over the whole file, as hex: the same for the same training."""
        return require_loadable(self._file).digest

    @property
    def bars_needed(self) -> int:
        """How many bars make the first probability."""
        return LOOKBACK + self.sequence_length - 1

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of "up" for each window of raw feature rows: (n, 86) -> (n - sequence_length + 1,)."""
        return self.forecast(features).probability

    def forecast(self, features: NDArray[np.float64], precision: Precision = "fp32") -> Forecast:
        """Return what the members say of each window of raw feature rows: (n, 86) -> (n - sequence_length + 1,) each.

        The one way from features to probability in backtest and live; training asks the same members. In bf16 it is faster
        where the processor has it, and a window's bits depend on how many are asked for at once.
        """
        logits = self._members_logits(features, precision)
        out_of_range = (
            self.usual.out_of_range(features, self.sequence_length)
            if self.usual
            else np.zeros(logits.shape[1])
        )
        return Forecast(
            probability_of(logits.mean(axis=0)), probability_of(logits).std(axis=0), out_of_range
        )

    def logits(
        self, features: NDArray[np.float64], precision: Precision = "fp32"
    ) -> NDArray[np.float64]:
        """Return the logits that belong to the probabilities: (n, 86) -> (n - sequence_length + 1,)."""
        logits: NDArray[np.float64] = self._members_logits(features, precision).mean(axis=0)
        return logits

    def _members_logits(
        self, features: NDArray[np.float64], precision: Precision
    ) -> NDArray[np.float64]:
        """Return the calibrated logits of each member: (n, 86) -> (members, n - sequence_length + 1)."""
        if len(features) < self.sequence_length:
            raise ValueError(
                f"`features` must have at least {self.sequence_length} rows, got {len(features)}."
            )
        rows = self.scaler.transform(features)
        windows = torch.from_numpy(cut_windows(rows, self.sequence_length))
        return np.stack([member.logits(windows, precision) for member in self.members])

    def probabilities(self, bars: pd.DataFrame) -> pd.Series:
        """Return the probability of "up" decided at each bar's close, from the first bar that has its whole window.

        The index is `bars.index[149:]`. Raises BarsError for fewer bars or unsound ones, CheckpointError where interval,
        time zone or stamp are others than in training.
        """
        bars = check_bars(bars)
        require_bars(
            bars,
            self.bars_needed,
            f"{LOOKBACK} for the features and {self.sequence_length - 1} for the window",
        )
        self.require_interval(bar_interval(pd.DatetimeIndex(bars.index)))
        known = (
            bars.attrs.get("timezone") if self.timezone else None
        )  # nothing to compare with where training stated none
        self.require_clock(known, bars.attrs.get("stamp"))
        features = FeatureEngineer().transform(bars)
        decided = features.index[self.sequence_length - 1 :]
        return pd.Series(self.predict(features.to_numpy()), index=decided, name="probability")

    def require_interval(self, interval: pd.Timedelta) -> None:
        """Refuse bars of another interval than the network was trained on, with a CheckpointError."""
        if interval != self.bar_interval:
            raise CheckpointError(
                f"the checkpoint was trained on bars of {spoken(self.bar_interval)}, "
                f"got bars of {spoken(interval)}. "
                "Give bars of that interval or train on these."
            )

    def require_clock(self, timezone: str | None, stamp: str | None) -> None:
        """Refuse a stated time zone, or meaning of a stamp, that is not that of training, with a CheckpointError."""
        for name, stated, trained in (
            ("timezone", timezone, self.timezone),
            ("stamp", stamp, self.stamp),
        ):
            if stated is not None and stated != trained:
                raise CheckpointError(
                    f"`{name}` must be {trained!r} as in training, got {stated!r}. "
                    "Convert the bars, or train on bars such as these."
                )

    @cached_property
    def _file(self) -> bytes:
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        own |= {
            "trained_until": str(self.trained_until),
            "bar_interval": self.bar_interval.total_seconds(),
            "members": tuple(words_of(member) for member in self.members),
        }
        return encode(
            Record(format=FORMAT, digest=NO_DIGEST, feature_names=FEATURE_NAMES, **own),
            self.members,
        )
