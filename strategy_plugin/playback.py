"""Makes the decisions of a journal again, from the bars in it and the checkpoints it names: `replay(path)`."""
import json
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from strategy_plugin.buffer import FeatureBuffer
from strategy_plugin.decision import target
from strategy_plugin.guard import Gate
from strategy_plugin.journal import VERSION, Entry, digest
from strategy_plugin.orders import direction
from strategy_plugin.schedule import Schedule, newest_forecast

Bars = list[tuple[int, tuple[float, ...] | None]]  # stamp, and the bar as the model may see it
NO_FORECAST = (math.nan, math.nan)


class Replay(NamedTuple):
    """How many bars were decided again, and every difference in words; none means that all came out to the last bit."""

    bars: int
    differences: list[str]


def replay(path: str) -> Replay:
    """Decide every bar of a journal again. Raises ValueError for a file that is none, CheckpointError for models gone."""
    with open(path, encoding="utf-8") as file:
        lines: list[Entry] = [json.loads(line) for line in file]
    if not lines or lines[0].get("journal") != VERSION:
        raise ValueError(f"{path} must begin with a line of a journal of version {VERSION}, got {str(lines[:1])[:60]}. "
                         "Name a journal.")
    differences = []
    for header, entries in _runs(lines):
        for name, origin in header["datas"].items():
            own = [entry for entry in entries if entry["data"] == name]
            served = _served(origin, own) if origin else [{} for _ in own]
            differences += [text for entry, found in zip(own, served) for text in _differences(entry, found, header["params"])]
    return Replay(sum("data" in line for line in lines), differences)


def _runs(lines: list[Entry]) -> Iterator[tuple[Entry, list[Entry]]]:
    """Yield each run's header and its lines; a restart appends a run."""
    starts = [index for index, line in enumerate(lines) if "journal" in line]
    for start, stop in zip(starts, [*starts[1:], len(lines)]):
        yield lines[start], lines[start + 1:stop]


def _served(origin: Entry, entries: list[Entry]) -> list[Entry]:
    """Return the inputs, models and probabilities of one data, computed in the clock in which they were computed first."""
    schedule = Schedule(origin["checkpoint"])
    gate = Gate("journal")
    bars: Bars = []
    for entry in entries:
        stamp = int(np.datetime64(entry["bar"], "ns").astype(np.int64))
        values = tuple(math.nan if value is None else value for value in entry["values"])
        bars.append((stamp, gate.admit(entry["number"], stamp, values)))  # type: ignore[arg-type]
    return _at_once(schedule, origin, bars) if origin["clock"] == "once" else _one_by_one(schedule, origin, bars, entries)


def _at_once(schedule: Schedule, origin: Entry, bars: Bars) -> list[Entry]:
    schedule.keep(origin["models"])
    shown = [(stamp, bar) for stamp, bar in bars if bar is not None]
    values, stamps = np.array([bar for _, bar in shown]), np.array([stamp for stamp, _ in shown])
    predicted = iter(schedule.forecasts(values, stamps, origin["max_gap"]).T.tolist())
    found, count = [], 0
    for stamp, bar in bars:
        count += bar is not None
        reach = slice(max(0, count - schedule.bars_needed), count)
        checkpoint = schedule.at(stamp)
        found.append({"input": digest(values[reach], stamps[reach]), "model": checkpoint.digest if checkpoint else "",
                      **_said(next(predicted) if bar is not None else NO_FORECAST)})
    return found


def _one_by_one(schedule: Schedule, origin: Entry, bars: Bars, entries: list[Entry]) -> list[Entry]:
    models = {checkpoint.digest: checkpoint for checkpoint in schedule.checkpoints}
    buffer = FeatureBuffer(schedule.sequence_length)
    found = []
    for (stamp, bar), entry in zip(bars, entries):
        if bar is not None:
            buffer.update(entry["number"], stamp, *bar)
        checkpoint = models.get(entry["model"])
        found.append({"input": digest(*buffer.inputs()), "model": checkpoint.digest if checkpoint else "",
                      **_said(newest_forecast(checkpoint, buffer, origin["max_gap"]) if bar else NO_FORECAST)})
    return found


def _said(forecast: Sequence[float]) -> Entry:
    """Return a forecast as a line has it."""
    return {name: None if math.isnan(value) else value for name, value in zip(("probability", "disagreement"), forecast)}


def _differences(entry: Entry, found: Entry, params: Entry) -> Iterator[str]:
    """Yield what a line says otherwise than it comes out now."""
    probability = math.nan if entry["probability"] is None else entry["probability"]
    again = {name: entry[name] for name in ("input", "model", "probability", "disagreement")} | found
    again |= {"target": _target(entry, probability, params), "order": _order(entry)}
    for part, value in again.items():
        if entry[part] != value:
            yield f"data {entry['data']}, bar {entry['bar']}: {part} was {entry[part]}, is {value}"


def _target(entry: Entry, probability: float, params: Entry) -> int:
    held: int = entry["held"]
    if entry["reason"] in ("not live", "in sample"):
        return held
    wanted = target(probability, held, enter=entry["enter"], exit=entry["exit"], allow_short=params["allow_short"])
    return 0 if entry["reason"] and wanted not in (0, held) else wanted


def _order(entry: Entry) -> str:
    """Return the order that leads from the units held to those aimed at, where one was sent."""
    if entry["aim"] is None:
        return str(entry["order"])
    if direction(entry["aim"]) not in (0, entry["target"]):
        return "none in that direction"
    return f"{entry['aim'] - entry['position']:+.8g}"
