"""Labels of one's own: what they must be, and the doors by which they come in.

A label knows the future; what it must not hide is until when. So each label comes with its end.
"""

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Annotated, Protocol

import numpy as np
import pandas as pd
from msgspec import Meta, Struct
from numpy.typing import NDArray

from model.bars.faults import COLUMNS
from model.bars.intervals import day
from model.errors import LabelError, did_you_mean
from model.fresh_process import Beginning, beginning_of
from model.supplied import (
    LABEL,
    Scalar,
    admit_installed,
    called,
    held_by,
    made,
    named_in_module,
    parameters_of,
    source_of,
    told,
)

# What a row must be, and what to do where it is not.
NEITHER = "must be 1, 0, or NaN for none", "Give one of these"
ENDLESS = (
    "must have an end, and not after the last bar",
    "Give NaN as the label where its end has not come",
)
REVERSED = (
    "must end after the bar that it is decided at: what is known there is no forecast",
    "Give as end the bar at whose close the label is known",
)


class OwnLabel(Protocol):
    """What a label of one's own must have; its class needs no base.

    Examples
    --------
    >>> class Rise:
    ...     name = "rise"
    ...
    ...     def transform(self, bars):
    ...         later = bars["close"].shift(-5)
    ...         label = (later > bars["close"]).astype(float).where(later.notna())
    ...         end = pd.Series(bars.index, bars.index).shift(-5)
    ...         return pd.DataFrame({"label": label, "end": end})
    """

    @property
    def name(self) -> str:
        """What it is called, a plain word."""

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the label of each bar's decision, which falls at its close.

        Parameters
        ----------
        bars
            Open, high, low, close and volume, indexed by time: (n, 5), a copy.

        Returns
        -------
        DataFrame
            On the same index the columns `label`: 1, 0, or NaN for none, and `end`: the timestamp,
            or the position, of the bar at whose close the label is known.
        """


Labelled = tuple[NDArray[np.float64], NDArray[np.int64]]


class LabelRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a checkpoint keeps of a label: words and numbers, by which it is known again.

    parameters: what an instance was made with. source: the SHA-256 of the name of its class and
    the module that defines it.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    parameters: dict[str, Scalar]
    source: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]

    def __str__(self) -> str:
        return called(self.name, self.parameters)


@dataclass(frozen=True, eq=False)
class KnownLabel:
    """A label that bars can be given: the user's object, and what a checkpoint keeps of it.

    beginning: the object as it was before its first call. held: all that it was made with, also
    what its record does not say.
    """

    label: OwnLabel
    record: LabelRecord
    beginning: Beginning
    held: bytes

    def transform(self, bars: pd.DataFrame) -> Labelled:
        """Return the labels and the positions of the bars at which they are known: (n,), (n,).

        A label that is NaN is never known: n. Raises LabelError with row and values for what
        cannot be.
        """
        try:
            table = self.label.transform(shown_bars(bars))
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # whatever a class of somebody else's raises
            raise self._refusal(
                f"give a row for every bar, got {told(error, self.label)}. Mend its transform"
            ) from error
        index = pd.DatetimeIndex(bars.index)
        self._require_table(table, index)
        values = table["label"].to_numpy(np.float64, na_value=np.nan)
        self._require_rows(table, index, ~np.isin(values, (0.0, 1.0)) & ~np.isnan(values), NEITHER)
        known = self._positions(table["end"], index)
        there = ~np.isnan(values)
        self._require_rows(table, index, there & (known < 0), ENDLESS)
        self._require_rows(table, index, there & (known <= np.arange(len(index))), REVERSED)
        return values, np.where(there, known, len(index))

    def _require_table(self, table: object, index: pd.DatetimeIndex) -> None:
        fault = ""
        if not isinstance(table, pd.DataFrame):
            fault = f"a DataFrame, got {type(table).__name__}"
        elif sorted(map(str, table.columns)) != ["end", "label"]:
            fault = f"the columns label and end, got {', '.join(map(str, table.columns)) or 'none'}"
        elif len(table) != len(index):
            fault = f"a row for each of {len(index)} bars, got {len(table)}"
        elif not table.index.equals(index):
            row = int((table.index != index).argmax())
            fault = f"its rows on the bars' own index, got {table.index[row]!r} as row {row}"
        elif table["label"].dtype.kind not in "biuf":
            fault = f"numbers in label, got {table['label'].dtype}"
        elif table["end"].dtype.kind not in "iufM" or getattr(table["end"].dtype, "tz", None):
            fault = (
                "timestamps of the bars, without a zone, or positions in end, got "
                f"{table['end'].dtype}"
            )
        if fault:
            raise self._refusal(
                f"return {fault}. Return pd.DataFrame({{'label': ..., 'end': ...}}, bars.index)"
            )

    def _positions(self, ends: pd.Series, index: pd.DatetimeIndex) -> NDArray[np.int64]:
        """Return the positions of the bars at which labels end, -1 where there is no such bar."""
        if ends.dtype.kind == "M":
            # Between two bars it is known at the later one.
            stamps, asked = (one.as_unit("ns").asi8 for one in (index, pd.DatetimeIndex(ends)))
            known = np.searchsorted(stamps, asked)
        else:
            places = np.ceil(ends.to_numpy(np.float64, na_value=np.nan))
            known = np.where(np.isfinite(places), places, -1).astype(np.int64)
        return np.where(ends.isna() | (known >= len(index)), -1, known)

    def _require_rows(
        self,
        table: pd.DataFrame,
        index: pd.DatetimeIndex,
        faulty: NDArray[np.bool_],
        rule: tuple[str, str],
    ) -> None:
        if faulty.any():
            what, remedy = rule
            row = int(faulty.argmax())
            label, end = table["label"].iloc[row], table["end"].iloc[row]
            raise LabelError(
                f"the label {self.record.name!r} {what}, got label {label} with end {end} at "
                f"{day(index[row])} (bar {row + 1}), {int(faulty.sum())} such rows in all. "
                f"{remedy}."
            )

    def _refusal(self, what: str) -> LabelError:
        return LabelError(f"the label {self.record.name!r} must {what}.")


def shown_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars as a label is shown them: a copy, so that what it does reaches nobody."""
    shown = bars[list(COLUMNS)].astype(np.float64)
    shown.attrs = {}
    return shown


RESERVED = ("open", "close", "barrier", "own")  # labels of ours
_known: dict[str, KnownLabel] = {}


def register_label(label: OwnLabel | type[OwnLabel]) -> None:
    """Make a label known by its name, to be trained on and judged by.

    This holds for this process. An installed package offers its labels to all processes and
    commands by entry points of the group `backtrader_bilstm.labels`.

    Parameters
    ----------
    label
        An object with `name` and `transform(bars)`, which returns a DataFrame of `label` and `end`
        on the index of the bars; or its class, which is then made without arguments. What an
        instance was made with (its attributes) must be numbers and texts.

    Raises
    ------
    LabelError
        For what is no such label, and a name that is taken.

    Examples
    --------
    >>> from my_labels import Rise  # a file of yours
    >>> register_label(Rise)
    >>> TrainConfig(label="rise").labelling.label
    'own'
    """
    _admit(label)


def _admit(given: object) -> KnownLabel:
    """Put a label among the known ones and return it, or the equal one that is there."""
    label: OwnLabel = made(given, LABEL)  # type: ignore[assignment]
    name = getattr(label, "name", None)
    if not (isinstance(name, str) and name.isidentifier() and name not in RESERVED):
        raise LabelError(
            f"{type(label).__name__} cannot be a label: `name` must be a plain word, and none of "
            f"{', '.join(RESERVED)}, got {name!r}. Mend it."
        )
    if not callable(getattr(label, "transform", None)):
        raise LabelError(
            f"{type(label).__name__} cannot be a label: `transform` must be a method that turns "
            "bars into a DataFrame, got none. Mend it."
        )
    parameters, source = parameters_of(label, LABEL), source_of(label, LABEL)
    record = LabelRecord(name=name, parameters=parameters, source=source)
    held = beginning_of(held_by(label), name, LABEL).pickled
    found = KnownLabel(label, record, beginning_of(given, name, LABEL), held)
    known = _known.setdefault(name, found)
    if (known.record, known.held) != (record, held):
        raise LabelError(
            f"`name` must be free, got {name!r}, which is {known.record} already, with other "
            "parameters or of another source. Give each instance a name of its own, as "
            "self.name = f'jump_{days}' in `__init__`; what was changed needs a new process."
        )
    return known


def own_label(text: str) -> KnownLabel:
    """Return the label that a user names.

    text: the name of a known one, a file as `my_labels.py:Rise` or a module as
    `package.module:Rise`; what stands after the colon is a class or an instance. Raises LabelError
    where it cannot be had.
    """
    if ":" in text:
        return _defined(*named_in_module(text, LABEL))
    if text not in _known:
        admit_installed(text, LABEL, _admit)
    if text not in _known:
        raise LabelError(
            f"`label` must be one of {', '.join(RESERVED[:-1])}, or one of your own as "
            f"my_labels.py:Rise, got {text!r}.{did_you_mean(text, [*RESERVED[:-1], *_known])}"
        )
    return _known[text]


@cache
def _defined(module: ModuleType, name: str) -> KnownLabel:
    """Return what a module defines. Once for each: another content of a file is another module."""
    return _admit(getattr(module, name))


def served_label(record: LabelRecord) -> KnownLabel:
    """Return the known label that a checkpoint, or a configuration, states.

    Nothing is imported. Raises LabelError where it is not known here, or is another.
    """
    known = _known.get(record.name)
    if known is None or known.record != record:
        other = "" if known is None else f", got {known.record} of another source or parameters"
        raise LabelError(
            f"the label {record} must be given to label bars{other}. Give `label` with the file "
            "that defines it, as my_labels.py:Rise, or call model.register_label before."
        )
    return known
