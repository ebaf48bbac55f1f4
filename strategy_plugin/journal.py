"""The decision journal: one JSON line a bar with all that a decision and its order were made from."""

import fcntl
import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from model.bars.read import COLUMNS
from strategy_plugin.guard import TradingWarning
from strategy_plugin.instrument import Lane

VERSION = 3
Entry = dict[str, Any]


class Journal:
    """Appends to a file. A run begins with a line of its params, its sizer where replay knows its formula, and where each
    data's probabilities come from; then each bar has a line, written when its decision is made. With `live`, a line leaves the
    process at once. A file that can no longer be written is given up with a warning: trading goes on."""

    def __init__(
        self, path: str, params: Entry, sizer: Entry | None, lanes: Iterable[Lane], live: bool
    ) -> None:
        self._path = path
        _require_version(path)
        self._gap = (
            "\n" if _ends_within_a_line(path) else ""
        )  # the last run may have died within a line
        self._file: TextIO | None = _opened(path, live)
        self._lanes = list(lanes)
        self._header = {
            "journal": VERSION,
            "params": params,
            "sizer": sizer,
            "traded": len(self._lanes),
        }
        self._begun = False

    def note(self, lane: Lane) -> None:
        """Write a line for the decision that a lane has just made."""
        if (
            not self._begun
        ):  # not earlier: only with the first bar is it known in which clock the host runs
            self._write(self._header | {"datas": {each.name: origin(each) for each in self._lanes}})
            self._begun = True
        self._write(entry(lane))

    def close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._give_up(self._file, error)

    def _write(self, line: Entry) -> None:
        if self._file is not None:
            try:
                self._file.write(
                    self._gap + json.dumps(line, allow_nan=False, default=_spelt) + "\n"
                )
                self._gap = ""
            except OSError as error:
                self._give_up(self._file, error)

    def _give_up(self, file: TextIO, error: OSError) -> None:
        self._file = None
        with suppress(OSError):
            file.close()
        warnings.warn(
            f"the journal {self._path} cannot be written any more ({error}); trading goes on without it",
            TradingWarning,
            stacklevel=2,
        )


def _require_version(path: str) -> None:
    """Refuse to append to a journal of another version: nobody could replay it."""
    if (found := _version_in(path)) != VERSION:
        raise ValueError(
            f"`journal` must be a new file or a journal of version {VERSION}, got version {found} in {path}. "
            "Give another file."
        )


def _version_in(path: str) -> Any:
    """Return the version of the journal that a file begins with; for a file that begins with none the one written here."""
    if not os.path.isfile(path):  # a device may never end
        return VERSION
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        line = json.loads(file.readline())
        return line.get("journal", VERSION) if isinstance(line, dict) else VERSION
    return VERSION


def _spelt(value: Any) -> Any:
    """Return a param of another kind as JSON has it: a number of numpy's, a path."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _opened(path: str, live: bool) -> TextIO:
    """Return the file, open for this run alone."""
    file = open(path, "a", buffering=1 if live else -1, encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(
            f"`journal` must be a file that no other run writes to, got {path}. Give each run its own."
        ) from None
    return file


def _ends_within_a_line(path: str) -> bool:
    with (
        suppress(OSError),
        open(path, "rb") as file,
    ):  # a file that is not there or too short has no last byte
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
    return False


def origin(lane: Lane) -> Entry | None:
    """Return where a data's probabilities come from; None where the feed brings them along."""
    if lane.indicator is None:
        return None
    schedule = lane.indicator.schedule
    return {
        "checkpoint": str(schedule.path),
        "models": [checkpoint.digest for checkpoint in schedule.checkpoints],
        "max_gap": schedule.max_gap,
        "precision": schedule.precision,
        "clock": lane.indicator.mode,
    }


def entry(lane: Lane) -> Entry:
    """Return the line for a lane's last decision; a number that is missing is null."""
    data, decision, reading = lane.data, lane.decision, lane.decision.reading
    return {
        "data": lane.name,
        "number": decision.number,
        "bar": np.datetime_as_string(np.datetime64(decision.stamp, "ns")),
        "values": [plain(getattr(data, field)[lane.ago]) for field in COLUMNS],
        "input": digest(*lane.indicator.inputs(lane.ago)) if lane.indicator is not None else None,
        "model": reading.model,
        "probability": plain(reading.probability),
        "disagreement": plain(reading.disagreement),
        "enter": reading.thresholds.enter,
        "exit": reading.thresholds.exit,
        "held": decision.held,
        "reason": decision.reason,
        "target": decision.wanted,
        "position": decision.position,
        "aim": decision.aim,
        "order": decision.action,
        "ends": decision.ends,
        "facts": {name: plain(value) for name, value in lane.desk.venue.facts.items()},
    }


def digest(values: NDArray[np.float64], stamps: NDArray[np.int64]) -> str:
    """Return the SHA-256 of the raw bars that a probability depends on, as hex."""
    return hashlib.sha256(
        np.ascontiguousarray(values).tobytes() + np.ascontiguousarray(stamps).tobytes()
    ).hexdigest()


def plain(value: float) -> float | None:
    """Return a number as JSON has it, None for one that is missing."""
    return float(value) if math.isfinite(value) else None
