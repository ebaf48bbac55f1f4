"""The decision journal: one JSON line a bar with all that a decision was made from."""
import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bars import COLUMNS
from strategy_plugin.lane import Lane

VERSION = 2
Entry = dict[str, Any]


class Journal:
    """Appends to a file. A run begins with a line of its params and where each data's probabilities come from; then each
    bar has a line, written when its decision is made. With `live`, a line leaves the process at once."""

    def __init__(self, path: str, params: Entry, lanes: Iterable[Lane], live: bool) -> None:
        self._file = open(path, "a", buffering=1 if live else -1, encoding="utf-8")
        self._params = params
        self._lanes = list(lanes)
        self._begun = False

    def note(self, lane: Lane) -> None:
        """Write a line for the decision that a lane has just made."""
        if not self._begun:  # not earlier: only with the first bar is it known in which clock the host runs
            datas = {each.name: origin(each) for each in self._lanes}
            self._write({"journal": VERSION, "params": self._params, "datas": datas})
            self._begun = True
        self._write(entry(lane))

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Entry) -> None:
        self._file.write(json.dumps(line, allow_nan=False) + "\n")


def origin(lane: Lane) -> Entry | None:
    """Return where a data's probabilities come from; None where the feed brings them along."""
    if lane.indicator is None:
        return None
    schedule = lane.indicator.schedule
    return {"checkpoint": str(schedule.path), "models": [checkpoint.digest for checkpoint in schedule.checkpoints],
            "max_gap": lane.indicator.p.max_gap, "clock": lane.indicator.clock}


def entry(lane: Lane) -> Entry:
    """Return the line for a lane's last decision; a number that is missing is null."""
    data, decision, reading = lane.data, lane.decision, lane.decision.reading
    return {
        "data": lane.name, "number": decision.number, "bar": np.datetime_as_string(np.datetime64(decision.stamp, "ns")),
        "values": [_plain(getattr(data, field)[lane.ago]) for field in COLUMNS],
        "input": digest(*lane.indicator.inputs(lane.ago)) if lane.indicator is not None else None,
        "model": reading.model, "probability": _plain(reading.probability), "disagreement": _plain(reading.disagreement),
        "enter": reading.thresholds.enter, "exit": reading.thresholds.exit,
        "held": decision.held, "reason": decision.reason, "target": decision.wanted,
        "position": decision.position, "aim": decision.aim, "order": decision.action,
    }


def digest(values: NDArray[np.float64], stamps: NDArray[np.int64]) -> str:
    """Return the SHA-256 of the raw bars that a probability depends on, as hex."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes() + np.ascontiguousarray(stamps).tobytes()).hexdigest()


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
