"""Makes the decisions of a journal again, from the bars in it and the checkpoints it names: `replay(path)`."""

import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from model.bars.faults import day
from model.checkpoint.buffer import FeatureBuffer
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import NO_FORECAST, Schedule
from model.errors import CheckpointWarning
from strategy_plugin.decision import NOT_LIVE, ModelSignal, Reading, decide, thresholds
from strategy_plugin.guard import Gate, TradingWarning
from strategy_plugin.journal import VERSION, Entry, digest, plain
from strategy_plugin.orders import FOUND, NOTICED, ON_CANCEL, Desk, Order, Rules, Stops, stops
from strategy_plugin.sizers import room_of, units_of

Bars = list[tuple[int, tuple[float, ...] | None]]  # stamp, and the bar as the model may see it


class Replay(NamedTuple):
    """How many bars were decided again, and every difference in words; none means that all came out to the last bit."""

    bars: int
    differences: list[str]


def replay(path: str) -> Replay:
    """Decide every bar of a journal again, and order again what its lines say of broker and account.

    Probability, thresholds, target and order are computed anew, by the code that trades. Bars, positions, what became of orders
    and the units of a sizer other than EquityShare are taken from the journal. Raises ValueError for a file that is none,
    CheckpointError for models gone.
    """
    lines, differences = _read(path)
    try:
        differences += _all_differences(lines)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must hold the lines of a journal, got one that is none ({error!r}). Name a journal."
        ) from error
    return Replay(sum("data" in line for line in lines), differences)


def _all_differences(lines: list[Entry]) -> list[str]:
    """Make all runs again."""
    differences = []
    for header, entries in _runs(lines):
        differences += [
            f"a line is of data {each['data']}, which its run did not trade"
            for each in entries
            if each["data"] not in header["datas"]
        ]
        for name, origin in header["datas"].items():
            own = [entry for entry in entries if entry["data"] == name]
            served = (
                _served(origin, own)
                if origin
                else [_Served(None, each["probability"], input=each["input"]) for each in own]
            )
            differences += _Again(header, name, served).differences(own)
    return differences


def _read(path: str) -> tuple[list[Entry], list[str]]:
    """Return the lines, and in words those that were cut off when a process died."""
    lines: list[Entry] = []
    torn: list[str] = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, start=1):
            try:
                lines.append(json.loads(text))
            except ValueError:
                torn.append(f"line {number} is not whole: {text[:40].rstrip()}...")
    if not lines or not all(isinstance(line, dict) for line in lines) or "journal" not in lines[0]:
        raise ValueError(
            f"{path} must begin with a line of a journal of version {VERSION}, got {str(lines[:1])[:60]}. "
            "Name a journal."
        )
    if others := {line["journal"] for line in lines if "journal" in line} - {VERSION}:
        raise ValueError(
            f"{path} must hold runs of a journal of version {VERSION} alone, got version "
            f"{', '.join(map(str, sorted(others, key=str)))}. Replay it with the program that wrote it."
        )
    return lines, torn


def _runs(lines: list[Entry]) -> Iterator[tuple[Entry, list[Entry]]]:
    """Yield each run's header and its lines; a restart appends a run."""
    starts = [index for index, line in enumerate(lines) if "journal" in line]
    for start, stop in zip(starts, [*starts[1:], len(lines)]):
        yield lines[start], lines[start + 1 : stop]


class _Served(NamedTuple):
    """What the model said again: the checkpoint in force, the forecast, the digest of the bars that it depends on."""

    checkpoint: Checkpoint | None = None
    probability: float | None = None
    disagreement: float = math.nan
    input: str | None = None


def _served(origin: Entry, entries: list[Entry]) -> list[_Served]:
    """Return what the model of one data says, computed in the clock in which it was computed first."""
    later = (
        {entry["model"] for entry in entries if entry["model"]}
        if origin["clock"] == "next"
        else set()
    )
    schedule = Schedule(
        origin["checkpoint"],
        max_gap=origin["max_gap"],
        precision=origin["precision"],
        among={*origin["models"], *later},
    )
    gate = Gate("journal")
    bars: Bars = []
    for entry in entries:
        values = tuple(math.nan if value is None else value for value in entry["values"])
        bars.append((_stamp(entry), gate.admit(entry["number"], _stamp(entry), values)))  # type: ignore[arg-type]
    return (
        _at_once(schedule, bars)
        if origin["clock"] == "once"
        else _one_by_one(schedule, bars, entries)
    )


def _at_once(schedule: Schedule, bars: Bars) -> list[_Served]:
    shown = [(stamp, bar) for stamp, bar in bars if bar is not None]
    values, stamps = np.array([bar for _, bar in shown]), np.array([stamp for stamp, _ in shown])
    predicted = iter(schedule.forecasts(values, stamps).T.tolist())
    found, count = [], 0
    for stamp, bar in bars:
        count += bar is not None
        reach = slice(max(0, count - schedule.bars_needed), count)
        probability, disagreement, _ = next(predicted) if bar is not None else NO_FORECAST
        found.append(
            _Served(
                schedule.at(stamp), probability, disagreement, digest(values[reach], stamps[reach])
            )
        )
    return found


def _one_by_one(schedule: Schedule, bars: Bars, entries: list[Entry]) -> list[_Served]:
    models = {checkpoint.digest: checkpoint for checkpoint in schedule.checkpoints}
    buffer = FeatureBuffer(schedule.sequence_length)
    found = []
    for (stamp, bar), entry in zip(bars, entries):
        if bar is not None:
            buffer.update(entry["number"], stamp, *bar)
        checkpoint = models.get(entry["model"])
        probability, disagreement, _ = schedule.newest(checkpoint, buffer) if bar else NO_FORECAST
        found.append(_Served(checkpoint, probability, disagreement, digest(*buffer.inputs())))
    return found


class _Again:
    """One data of one run: reads, decides and orders once more, by the code that did it first."""

    def __init__(self, header: Entry, name: str, served: list[_Served]) -> None:
        self.name, self._served = name, served
        self._params = SimpleNamespace(**header["params"])
        self._told = _Told()
        self._signal = (
            ModelSignal(self._told, self._params.enter, self._params.exit)
            if header["datas"][name]
            else None
        )
        self._broker = _Broker(name, self._params.max_exposure, header["sizer"], header["traded"])
        rules = Rules(
            self._params.retries,
            self._params.patience,
            stops(self._params.stop_loss, self._params.take_profit, self._params.trailing),
            self._params.adopt,
        )
        self._desk = Desk(self._broker, rules)

    def differences(self, entries: list[Entry]) -> list[str]:
        with warnings.catch_warnings():  # they were shown when it happened
            warnings.simplefilter("ignore", TradingWarning)
            warnings.simplefilter("ignore", CheckpointWarning)
            again = [self._line(entry, served) for entry, served in zip(entries, self._served)]
        return [
            f"data {self.name}, bar {day(entry['bar'])}: {part} was {entry[part]}, is {value}"
            for entry, line in zip(entries, again)
            for part, value in line.items()
            if entry[part] != value
        ]

    def _line(self, entry: Entry, served: _Served) -> Entry:
        """Return what a line says when it is made again."""
        self._told.served, self._told.now = served, _stamp(entry)
        self._broker.turn_to(entry, self._desk)
        reading, held, sent = self._read(), self._desk.held, self._desk.counts["sent"]
        target, reason = decide(reading, held, self._params, entry["reason"] != NOT_LIVE)
        heard = not reason and not math.isnan(reading.probability)
        self._broker.go_on(entry)
        order = self._desk.rest() if reason == NOT_LIVE else self._desk.move(target, heard)
        return {
            "input": served.input,
            "model": reading.model,
            "probability": plain(reading.probability),
            "disagreement": plain(reading.disagreement),
            **reading.thresholds._asdict(),
            "held": held,
            "reason": reason,
            "target": target,
            "aim": self._desk.aim if self._desk.counts["sent"] > sent else None,
            "order": order,
        }

    def _read(self) -> Reading:
        if self._signal is not None:
            return self._signal.read(0)
        probability = (
            math.nan if self._told.served.probability is None else self._told.served.probability
        )
        return Reading(probability, thresholds(self._params.enter, self._params.exit))


class _Told:
    """What a ModelSignal asks of an indicator and of its schedule, as the journal tells of one line after the other."""

    def __init__(self) -> None:
        self.schedule, self.served, self.now = self, _Served(), 0

    @property
    def probability(self) -> list[float | None]:
        return [self.served.probability]

    @property
    def disagreement(self) -> list[float]:
        return [self.served.disagreement]

    def timestamp(self, ago: int) -> int:
        return self.now

    def at(self, stamp: int) -> Checkpoint | None:
        return self.served.checkpoint

    def name(self, checkpoint: Checkpoint) -> str:
        return checkpoint.digest

    def require(self, demand: object) -> None:
        """Every checkpoint here has met it."""


class _Broker:
    """The broker of one data as the journal tells of it."""

    def __init__(self, name: str, cap: float, formula: Entry | None, traded: int) -> None:
        self.name, self._cap, self._formula, self._traded = name, cap, formula, traded
        self.size = 0.0
        self.facts: dict[str, float] = {}
        self._gives = True
        self._orders: list[_Order] = []
        self._on_cancel: dict[int, str] = {}

    def turn_to(self, entry: Entry, desk: Desk) -> None:
        """Take the position and the account of a line, and tell of the orders whose end the host had told of."""
        self.size, self._gives = entry["position"], entry["order"] != "no order"
        self.facts = {
            name: math.nan if value is None else value for name, value in entry["facts"].items()
        }
        for order in self._ended(entry, NOTICED):
            desk.notice(order)

    def go_on(self, entry: Entry) -> None:
        """End what was found to have ended; what ended when it was cancelled waits for that."""
        self._ended(entry, FOUND)
        self._on_cancel = {
            number: status for when, number, status in entry["ends"] if when == ON_CANCEL
        }

    def observe(self, ago: int) -> None:
        """The bars are in the facts."""

    def units(self, direction: int) -> float:
        if self._formula is None:
            return self._fact("units")
        return units_of(
            **self._formula,
            equity=self._fact("equity"),
            traded=self._traded,
            worth=self._fact("worth"),
        )

    def room(self) -> float:
        return room_of(
            self._cap,
            equity=self._fact("equity"),
            others=self._fact("others"),
            worth=self._fact("worth"),
        )

    def market(self, size: float) -> "_Order | None":
        return self._sent() if self._gives else None

    def protect(self, stops: Stops) -> list[Order]:
        return [self._sent() for _ in range(int(self.facts.get("placed", 0)))]

    def cancel(self, order: Order) -> None:
        known = self._orders[order.ref - 1]
        known.status = self._on_cancel.get(order.ref, known.status)

    def _fact(self, name: str) -> float:
        return self.facts.get(name, math.nan)

    def _sent(self) -> "_Order":
        self._orders.append(_Order(len(self._orders) + 1))
        return self._orders[-1]

    def _ended(self, entry: Entry, when: int) -> list["_Order"]:
        ended = []
        for seen, number, status in entry["ends"]:
            if seen == when and number <= len(self._orders):
                self._orders[number - 1].status = status
                ended.append(self._orders[number - 1])
        return ended


@dataclass
class _Order:
    """An order with the status that the journal tells; ref is its number among those sent."""

    ref: int
    status: str = "Accepted"

    def alive(self) -> bool:
        return self.status in ("Accepted", "Partial")

    def getstatusname(self) -> str:
        return self.status


def _stamp(entry: Entry) -> int:
    return int(np.datetime64(entry["bar"], "ns").astype(np.int64))
