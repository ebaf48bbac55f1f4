"""The decision journal: one JSON line a bar with all that a decision and its order came from."""

import fcntl
import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NotRequired, TextIO, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from strategy_plugin.feeds import bar_of, is_live
from strategy_plugin.guard import TradingWarning
from strategy_plugin.instrument import Decision, TradedData
from strategy_plugin.sizers import ShareParams

VERSION = 3


class Origin(TypedDict):
    """Where an instrument's probabilities come from; `clock` is the indicator's mode.

    zone_stated: whether the zone of the feed's times was; else their hours were watched.
    """

    checkpoint: str
    models: list[str]
    max_gap: int | None
    precision: str
    clock: str
    zone_stated: NotRequired[bool]  # journals of earlier days have none, nor watched hours


class Terms(TypedDict):
    """What a live broker trades by: the smallest part of a unit by symbol, and costs as fractions.

    A backtest of the same is given them.
    """

    lots: dict[str, float]
    commission: float
    slippage: float


class Header(TypedDict):
    """The first line of a run.

    sizer: its params where replay knows its formula, else None. traded: how many instruments are.
    datas: by name; None where the feed brings the probabilities along.
    """

    journal: int
    params: dict[str, Any]
    sizer: ShareParams | None
    traded: int
    datas: dict[str, Origin | None]
    terms: NotRequired[Terms]  # only of a broker that states them


class Entry(TypedDict):
    """The line of a bar; a number that is missing is null.

    number, bar: the bar's number and its timestamp. values: open, high, low, close, volume. others:
    the columns of other series. input: digest of the bars that the probability depends on. facts:
    what the order was computed from, and the cash before it. fills: size and price of what was
    filled since the line before. The others are those of a `Decision` and its `Reading`.
    """

    data: str
    number: int
    bar: str
    values: list[float | None]
    others: NotRequired[list[float | None]]  # only where the model reads other series
    input: str | None
    model: str
    probability: float | None
    disagreement: float | None
    enter: float
    exit: float
    held: int
    reason: str
    target: int
    position: float
    aim: float | None
    order: str
    ends: list[tuple[int, int, str]]
    facts: dict[str, float | None]
    fills: NotRequired[list[tuple[float, float]]]  # where there are any
    weight: NotRequired[float | None]  # these two only where a book decided
    units: NotRequired[float]


class DateEntry(TypedDict):
    """The line of a book's date, before those of its names.

    date: its timestamp. equity: of the account, null where it is no number. held: the exposure of
    each position over equity, orders under way included; null on a date that is not ranked. share:
    of the openings that the cash suffices for. settled: names whose position was settled.
    """

    date: str
    equity: float | None
    held: dict[str, float] | None
    share: float
    settled: list[str]


class Journal:
    """Appends the runs of a strategy to a file.

    A run begins with a header; then each bar has a line, written when its decision is made. Where
    an instrument is live, a line leaves the process at once. A file that can no longer be written
    is given up with a warning: trading goes on.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        params: dict[str, object],
        sizer: ShareParams | None,
        traded: Sequence[TradedData],
        terms: Terms | None = None,
    ) -> None:
        # Refused before the first bar, not when the first line is written.
        _require_version(path)
        self._path = path
        # The last run may have died within a line.
        self._gap = "\n" if ends_within_a_line(path) else ""
        live = any(is_live(instrument.source) for instrument in traded)
        self._file: TextIO | None = _open_alone(path, live)
        self._traded = traded
        self._header = {
            "journal": VERSION,
            "params": params,
            "sizer": sizer,
            "traded": len(traded),
            **({} if terms is None else {"terms": terms}),
        }
        self._begun = False

    def write_decision(
        self, instrument: TradedData, seen: Mapping[str, object] | None = None
    ) -> None:
        """Write the line of an instrument's newest decision, before it the run's header.

        seen: the bar that it was made on, as `seen_bar` gave it; None for the newest one.
        """
        self._begin()
        order_inputs = instrument.orders.broker.order_inputs
        self._write(
            {
                **(seen_bar(instrument) if seen is None else seen),
                **decision_entry(instrument.decision),
                "facts": {name: or_null(value) for name, value in order_inputs.items()},
                **({"fills": instrument.filled} if instrument.filled else {}),
            }
        )

    def write_date(self, line: DateEntry) -> None:
        """Write what a book decided a date from; the lines of its names follow."""
        self._begin()
        self._write(line)

    def _begin(self) -> None:
        if not self._begun:
            # Not earlier: only with the first bar is it known in which mode Backtrader runs.
            datas = {each.name: _origin(each) for each in self._traded}
            self._write(self._header | {"datas": datas})
            self._begun = True

    def close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._give_up(self._file, error)

    def _write(self, line: Mapping[str, object]) -> None:
        if self._file is None:
            return  # given up
        # Params may be of another kind than JSON has: a number of NumPy's, a path.
        text = json.dumps(
            line,
            allow_nan=False,
            default=lambda value: value.item() if isinstance(value, np.generic) else str(value),
        )
        try:
            self._file.write(f"{self._gap}{text}\n")
            self._gap = ""
        except OSError as error:
            self._give_up(self._file, error)

    def _give_up(self, file: TextIO, error: OSError) -> None:
        self._file = None
        with suppress(OSError):  # closing writes what is left, and fails as well
            file.close()
        warnings.warn(
            f"the journal {self._path} cannot be written any more ({error}); trading goes on "
            "without it",
            TradingWarning,
            stacklevel=2,
        )


def decision_entry(decision: Decision) -> dict[str, object]:
    """Return what a line says of a decision, in the order of the file.

    Trading writes it and replay compares it, key by key.
    """
    reading = decision.reading
    entry: dict[str, object] = {
        "model": reading.model,
        "probability": or_null(reading.probability),
        "disagreement": or_null(reading.disagreement),
        "enter": reading.thresholds.enter,
        "exit": reading.thresholds.exit,
        "held": decision.held,
        "reason": decision.reason,
        "target": decision.wanted,
        "position": decision.position,
        "aim": decision.aim,
        "order": decision.action,
        "ends": decision.ends,
    }
    if decision.units is not None:
        entry |= {"weight": decision.weight, "units": decision.units}
    return entry


def input_digest(values: NDArray[np.float64], timestamps: NDArray[np.int64]) -> str:
    """Return the SHA-256 of the raw bars that a probability depends on, as hex."""
    return hashlib.sha256(
        np.ascontiguousarray(values).tobytes() + np.ascontiguousarray(timestamps).tobytes()
    ).hexdigest()


def or_null(value: float) -> float | None:
    """Return a number as JSON has it, None for one that is missing."""
    return float(value) if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """Return a number that `or_null` wrote."""
    return math.nan if value is None else value


def seen_bar(instrument: TradedData) -> dict[str, object]:
    """Return the first keys of an `Entry`, those of the newest complete bar."""
    indicator, ago = instrument.signal.indicator, instrument.ago
    seen: dict[str, object] = {
        "data": instrument.name,
        "number": len(instrument.data) + ago,
        "bar": time_text(instrument.signal.timestamp(ago)),
        "values": [or_null(value) for value in bar_of(instrument.data, ago)],
        "input": None,
    }
    if indicator is not None:
        values, timestamps = indicator.inputs(ago)
        seen["input"] = input_digest(values, timestamps)
        if indicator.schedule.context:
            seen["others"] = [or_null(value) for row in values[-1:] for value in row[5:].tolist()]
    return seen


def time_text(timestamp: int) -> str:
    """Return nanoseconds since 1970 as a journal has them."""
    return str(np.datetime_as_string(np.datetime64(timestamp, "ns")))


def timestamp_of(entry: Entry) -> int:
    """Return the timestamp that `time_text` wrote, in nanoseconds since 1970."""
    return int(np.datetime64(entry["bar"], "ns").astype(np.int64))


def _origin(instrument: TradedData) -> Origin | None:
    indicator = instrument.signal.indicator
    if indicator is None:
        return None
    schedule = indicator.schedule
    return {
        "checkpoint": str(schedule.path),
        "models": [checkpoint.digest for checkpoint in schedule.checkpoints],
        "max_gap": schedule.max_gap,
        "precision": schedule.precision,
        "clock": indicator.mode,
        "zone_stated": indicator.zone_stated,
    }


def _require_version(path: str | Path) -> None:
    """Refuse to append to a journal of another version: nobody could replay it."""
    found: object = VERSION  # also of a file that begins with no journal's line
    if os.path.isfile(path):  # a device may never end
        with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
            line = json.loads(file.readline())
            found = line.get("journal", VERSION) if isinstance(line, dict) else VERSION
    if found != VERSION:
        raise ValueError(
            f"`journal` must be a new file or a journal of version {VERSION}, got version {found} "
            f"in {path}. Give another file."
        )


def ends_within_a_line(path: str | Path) -> bool:
    # A file that is not there or too short has no last byte.
    with suppress(OSError), open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
    return False


def _open_alone(path: str | Path, live: bool) -> TextIO:
    """Return the file, open for this run alone.

    The lock is on the file itself, and not by filelock, which would leave another beside it.
    """
    # Buffered by lines where live: what was decided must be on the disk when the process dies.
    file = open(path, "a", buffering=1 if live else -1, encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(
            f"`journal` must be a file that no other run writes to, got {path}. "
            "Give each run its own."
        ) from None
    return file


def read_journal(path: str | Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the lines, and in words those that were cut off when a process died.

    Raises ValueError where they are not those of a journal of this version.
    """
    lines: list[dict[str, Any]] = []
    torn: list[str] = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, start=1):
            try:
                lines.append(json.loads(text))
            except ValueError:
                torn.append(f"line {number} is not whole: {text[:40].rstrip()}...")
    if not lines or not all(isinstance(line, dict) for line in lines) or "journal" not in lines[0]:
        raise ValueError(
            f"{path} must begin with a line of a journal of version {VERSION}, got "
            f"{str(lines[:1])[:60]}. Name a journal."
        )
    others = {line["journal"] for line in lines if "journal" in line} - {VERSION}
    if others:
        raise ValueError(
            f"{path} must hold runs of a journal of version {VERSION} alone, got version "
            f"{', '.join(map(str, sorted(others, key=str)))}. "
            "Replay it with the program that wrote it."
        )
    return lines, torn


def runs_of(lines: list[dict[str, Any]]) -> Iterator[tuple[Header, list[Entry]]]:
    """Yield each run's header and its lines; a restart appends a run."""
    starts = [index for index, line in enumerate(lines) if "journal" in line]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield cast(Header, lines[start]), cast(list[Entry], lines[start + 1 : stop])
