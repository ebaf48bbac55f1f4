"""Features of one's own: what they must be, and how the engine calls them.

The engine hands a feature bars alone: in chunks for a history, the last `lookback` for a live bar.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import pandas as pd
from msgspec import Meta, Struct

from model.bars.faults import COLUMNS
from model.bars.intervals import day
from model.errors import FeatureError
from model.features.trailing import Array, Times
from model.fresh_process import Beginning, beginning_of
from model.supplied import FEATURE, Scalar, called, made, parameters_of, source_of, told

ASKED_AT_ONCE = 16_384  # rows
LONGEST_LOOKBACK = 10_000  # bars of a lookback
MOST_COLUMNS = 512  # of one feature
PROBED = 16  # rows with which the columns are asked for

Name = Annotated[str, Meta(min_length=1, max_length=100)]


class OwnFeature(Protocol):
    """What a feature of one's own must have; its class needs no base.

    A class attribute `exact = True` has it called for each row by itself, which is slow, and keeps
    every bit of its values wherever a history starts.

    Examples
    --------
    >>> class Momentum:
    ...     name = "momentum"
    ...     lookback = 21
    ...
    ...     def transform(self, bars):
    ...         return pd.DataFrame({"momentum_20": bars["close"].pct_change(20)})
    """

    @property
    def name(self) -> str:
        """What it is called, a plain word."""

    @property
    def lookback(self) -> int:
        """Bars that a value depends on, its own included."""

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return its columns.

        Parameters
        ----------
        bars
            Open, high, low, close and volume, indexed by time: (n, 5), a copy.

        Returns
        -------
        DataFrame
            A row for each bar, on the same index; those with fewer than `lookback` - 1 bars before
            them may hold anything.
        """


class FeatureRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a checkpoint keeps of a feature: words and numbers, by which it is known again.

    parameters: what an instance was made with. source: the SHA-256 of the name of its class and
    the module that defines it.
    """

    name: Name
    lookback: Annotated[int, Meta(ge=1, le=LONGEST_LOOKBACK)]
    exact: bool
    columns: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MOST_COLUMNS)]
    parameters: dict[str, str | float | int | bool | None]
    source: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]

    def __str__(self) -> str:
        return called(self.name, self.parameters)


@dataclass(frozen=True, eq=False)
class KnownFeature:
    """A feature that can be served: the user's object, and what a checkpoint keeps of it.

    beginning: the object as it was before its first call. probe: the digest of what it makes of
    made-up bars, which tells it from another whose record says the same.
    """

    feature: OwnFeature
    record: FeatureRecord
    beginning: Beginning
    probe: str

    def rows(self, values: Array, timestamps: Times, n_rows: int) -> Array:
        """Return the last `n_rows` rows: (n_rows, columns), NaN where it gives no finite number.

        values, timestamps: the bars, with at least `lookback` - 1 before the first row.
        """
        before = self.record.lookback - 1
        first = len(values) - n_rows - before
        step = 1 if self.record.exact else ASKED_AT_ONCE
        rows = np.empty((n_rows, len(self.record.columns)))
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            bars = slice(first + start, first + stop + before)
            rows[start:stop] = self.transform(values[bars], timestamps[bars])[before:]
        return rows

    def transform(self, values: Array, timestamps: Times) -> Array:
        """Return what it makes of bars, a row for each: (n, columns). FeatureError if it cannot."""
        table = transformed(self.feature, values, timestamps)
        if tuple(table.columns) != self.record.columns:
            raise FeatureError(
                f"the feature {self.record.name!r} must give the same columns for any bars, "
                f"{', '.join(self.record.columns)}, got {', '.join(map(str, table.columns))} "
                f"for the {len(values)} bars that end at {_stamp(timestamps, -1)}. "
                "Name them whatever the bars are."
            )
        found = table.to_numpy(np.float64, na_value=np.nan)
        # An infinite value would be clipped to a large one, and forecast from as if it were known.
        return np.where(np.isfinite(found), found, np.nan)


def shown_bars(values: Array, timestamps: Times) -> pd.DataFrame:
    """Return the bars as a feature is shown them: a copy, so that what it does reaches nobody."""
    index = pd.DatetimeIndex(timestamps.astype("datetime64[ns]", copy=False), name="date")
    return pd.DataFrame(np.array(values, dtype=np.float64), index, pd.Index(COLUMNS))


def transformed(
    feature: OwnFeature, values: Array, timestamps: Times, shown: str = ""
) -> pd.DataFrame:
    """Call a feature and return its table; FeatureError where it fails or gives no such table.

    shown: what the bars are, where their dates say nothing to the user.
    """
    bars = shown_bars(values, timestamps)
    index = bars.index
    where = f"for {shown or f'the {len(bars)} bars that end at {_stamp(timestamps, -1)}'}"
    try:
        table = feature.transform(bars)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # whatever a class of somebody else's raises
        raise FeatureError(
            f"the feature {feature.name!r} must give a row for every bar, got "
            f"{told(error, feature)}, {where}. Mend its transform."
        ) from error
    fault = ""
    if not isinstance(table, pd.DataFrame):
        fault = f"a DataFrame, got {type(table).__name__}"
    elif len(table) != len(index):
        fault = f"a row for each bar, got {len(table)} rows"
    elif not table.index.equals(index):
        row = int((table.index != index).argmax())
        fault = f"its rows on the bars' own index, got {table.index[row]!r} as row {row}"
    elif others := [name for name, kind in table.dtypes.items() if kind.kind not in "biuf"]:
        fault = f"numbers, got others in {others[0]!r}"
    if fault:
        raise FeatureError(
            f"the transform of the feature {feature.name!r} must return {fault}, {where}. "
            "Return pd.DataFrame({name: values}, index=bars.index)."
        )
    return table


def _stamp(timestamps: Times, position: int) -> str:
    return day(pd.Timestamp(timestamps[position]))


def known_feature(given: object) -> KnownFeature:
    """Return an object as a feature that can be served; FeatureError with all that it lacks."""
    feature: OwnFeature = made(given, FEATURE)  # type: ignore[assignment]
    faults = []
    try:
        name, lookback = getattr(feature, "name", None), getattr(feature, "lookback", None)
    except Exception as error:  # whatever a property of somebody else's raises
        raise FeatureError(
            f"{type(feature).__name__} cannot be a feature: its `name` and `lookback` must be "
            f"there from the start, got {told(error, feature)}. Mend it."
        ) from error
    if not (isinstance(name, str) and name.isidentifier()):
        faults.append(f"`name` must be a plain word, got {name!r}")
    if not (type(lookback) is int and 1 <= lookback <= LONGEST_LOOKBACK):
        faults.append(
            f"`lookback` must be a whole number from 1 to {LONGEST_LOOKBACK}, got {lookback!r}"
        )
    if not callable(getattr(feature, "transform", None)):
        faults.append("`transform` must be a method that turns bars into a DataFrame, got none")
    if not isinstance(getattr(feature, "exact", False), bool):
        faults.append(f"`exact` must be True or False, got {feature.exact!r}")  # type: ignore[attr-defined]
    kind = type(feature)
    if faults:
        raise FeatureError(f"{kind.__name__} cannot be a feature: {'; '.join(faults)}. Mend it.")
    parameters = parameters_of(feature, FEATURE, "lookback", "exact")
    beginning = beginning_of(given, feature.name, FEATURE)
    table = _probed(feature)
    probe = hashlib.sha256(table.to_numpy(np.float64, na_value=np.nan).tobytes()).hexdigest()
    return KnownFeature(
        feature, _record(feature, list(table.columns), parameters), beginning, probe
    )


def _probed(feature: OwnFeature) -> pd.DataFrame:
    """Return what a feature makes of made-up bars, which says what its columns are."""
    # Of an hour: a transform may look at the time. Of dates that no user's bars have.
    draw = np.random.default_rng(0)
    count = feature.lookback + PROBED - 1
    closes = 100 * np.exp(np.cumsum(draw.normal(0, 0.01, count)))
    opens = closes * np.exp(draw.normal(0, 0.003, count))
    values = np.column_stack(
        (
            opens,
            np.maximum(opens, closes) * 1.002,
            np.minimum(opens, closes) * 0.998,
            closes,
            draw.integers(1_000, 9_000, count),
        )
    )
    hours = pd.date_range("2100-01-04", periods=count, freq="h", unit="ns").to_numpy()
    shown = f"{count} made-up bars of an hour, with which its columns are asked for"
    return transformed(feature, values, hours, shown)


def _record(
    feature: OwnFeature, names: Sequence[str], parameters: Mapping[str, Scalar]
) -> FeatureRecord:
    faulty = [name for name in names if not (isinstance(name, str) and 0 < len(name) <= 100)]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    fault = ""
    if not 1 <= len(names) <= MOST_COLUMNS:
        fault = f"from 1 to {MOST_COLUMNS} columns, got {len(names)}"
    elif faulty:
        fault = f"columns named by texts of up to 100 signs, got {faulty[0]!r}"
    elif coloned := [name for name in names if ":" in name]:
        fault = f"columns without a colon, which those of other series have, got {coloned[0]!r}"
    elif twice:
        fault = f"columns of different names, got {', '.join(twice)} more than once"
    if fault:
        raise FeatureError(f"the feature {feature.name!r} must have {fault}. Rename them.")
    return FeatureRecord(
        name=feature.name,
        lookback=feature.lookback,
        exact=bool(getattr(feature, "exact", False)),
        columns=tuple(names),
        parameters=dict(parameters),
        source=source_of(feature, FEATURE),
    )
