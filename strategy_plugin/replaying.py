"""Makes the decisions of a journal again, from its bars and its checkpoints: `replay(path)`."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from model.bars.intervals import day
from model.checkpoint.buffer import FeatureBuffer
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import NO_FORECAST, Schedule
from model.errors import CheckpointWarning
from model.features.registry import own_features
from strategy_plugin.decision import (
    AT_FAULT,
    LATE,
    NEUTRAL,
    NO_READING,
    RESTING,
    DecisionRules,
    Reading,
    decide,
    doubt,
    obstacle,
    thresholds,
)
from strategy_plugin.feeds import Bar
from strategy_plugin.guard import Gate, TradingWarning, bar_fault
from strategy_plugin.hours import HourWatch
from strategy_plugin.instrument import Decision, ModelInForce, carried_out
from strategy_plugin.journal import (
    DateEntry,
    Entry,
    Header,
    Origin,
    decision_entry,
    input_digest,
    or_nan,
    read_journal,
    runs_of,
    timestamp_of,
)
from strategy_plugin.orders import OrderManager, OrderRules, direction
from strategy_plugin.ranking import Book, Candidate, TrailingVolatility
from strategy_plugin.recorded import RecordedBroker
from strategy_plugin.weights import BookRules


class Replay(NamedTuple):
    """How many bars were decided again, and every difference in words.

    No difference means that all came out to the last bit.
    """

    bars: int
    differences: list[str]


def replay(path: str | Path, features: str = "") -> Replay:
    """Decide every bar of a journal again, and order again what its lines say.

    Probability, thresholds, target and order are computed anew, by the code that trades. Bars,
    positions, what became of orders and the units of a sizer other than EquityShare are taken
    from the journal. So is the account of a book, whose dates are ranked again by probability: a
    `score` of one's own is not known here.

    Parameters
    ----------
    path
        A file that a strategy wrote with `journal`.
    features
        As the strategy's: a journal says what they were, but nothing that it names is imported.

    Returns
    -------
    Replay
        bars: how many lines were decided again; differences: each in words, with data and bar.

    Raises
    ------
    ValueError
        The file is no journal, or one of another version.
    CheckpointError
        A model that decided is gone.

    Examples
    --------
    >>> replay("decisions.jsonl").differences
    []
    """
    own_features(features)  # known from here on
    lines, differences = read_journal(path)
    try:
        for header, entries in runs_of(lines):
            differences += _differences(header, entries)
    # Whatever is missing in a line or of another kind: the file is not what it claims to be.
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must hold the lines of a journal, got one that is none ({error!r}). "
            "Name a journal."
        ) from error
    return Replay(sum("data" in line for line in lines), differences)


def _differences(header: Header, entries: list[Entry]) -> list[str]:
    """Decide a run again, one instrument after the other.

    They share the account, but what it was at each order stands in the lines.
    """
    of_names = [entry for entry in entries if "data" in entry]
    differences = [
        f"a line is of data {entry['data']}, which its run did not trade"
        for entry in of_names
        if entry["data"] not in header["datas"]
    ]
    known = {}
    for name, origin in header["datas"].items():
        own = [entry for entry in of_names if entry["data"] == name]
        if origin is None:
            forecasts = [
                _RecordedForecast(None, or_nan(entry["probability"]), math.nan, entry["input"])
                for entry in own
            ]
        else:
            forecasts = _forecasts(origin, own)
        known[name] = own, forecasts
    with warnings.catch_warnings():  # they were shown when it happened
        warnings.simplefilter("ignore", TradingWarning)
        warnings.simplefilter("ignore", CheckpointWarning)
        # Each run and instrument from its own start: nothing but the journal is carried over.
        if "rebalance" in header["params"]:
            forecasts_by_name = {name: iter(found) for name, (_, found) in known.items()}
            return differences + _BookRedo(header, forecasts_by_name).differences(entries)
        for name, (own, forecasts) in known.items():
            redo = _Redo(header, name)
            for entry, forecast in zip(own, forecasts, strict=True):
                decision = redo.decision(entry, forecast)
                differences += redo.differences(entry, forecast, decision)
    return differences


class _RecordedForecast(NamedTuple):
    """What the model says again of a bar.

    checkpoint: the one in force. input: the digest of the bars that the forecast depends on.
    """

    checkpoint: Checkpoint | None
    probability: float
    disagreement: float
    input: str | None
    behind: int = 0  # nanoseconds by which the bar may be older than its timestamp


def _forecasts(origin: Origin, entries: list[Entry]) -> list[_RecordedForecast]:
    """Return what the model of one instrument says, computed in the mode of the run.

    Only so the last bits agree: torch sums a batch otherwise than a single window.
    """
    models = set(origin["models"])
    if origin["clock"] == "next":
        # A live folder may have got them after the header was written.
        models |= {entry["model"] for entry in entries if entry["model"]}
    schedule = Schedule(
        origin["checkpoint"],
        max_gap=origin["max_gap"],
        precision=cast(Any, origin["precision"]),  # Schedule checks it
        among=models,
    )
    # The same gate as in trading: what it kept from the model then it keeps out now.
    gate = Gate("journal")
    bars: list[tuple[float, ...] | None] = []
    for entry in entries:
        values = cast(Bar, tuple(or_nan(value) for value in entry["values"]))
        bar = gate.admit(entry["number"], timestamp_of(entry), values)
        others = [or_nan(value) for value in entry.get("others", ())]
        bars.append(None if bar is None else (*bar, *others))
    redo = _forecasts_at_once if origin["clock"] == "once" else _forecasts_bar_by_bar
    forecasts = redo(schedule, entries, bars)
    if origin.get("zone_stated", True):
        return forecasts
    sound = [entry for entry, bar in zip(entries, bars, strict=True) if bar is not None]
    watch = HourWatch(schedule.checkpoints)
    watch.see(
        np.array([entry["number"] for entry in sound], dtype=np.int64),
        np.array([timestamp_of(entry) for entry in sound], dtype=np.int64),
    )
    return [
        forecast._replace(behind=watch.behind(entry["number"]))
        for entry, forecast in zip(entries, forecasts, strict=True)
    ]


def _forecasts_at_once(
    schedule: Schedule, entries: list[Entry], bars: list[tuple[float, ...] | None]
) -> list[_RecordedForecast]:
    sound = [(timestamp_of(entry), bar) for entry, bar in zip(entries, bars, strict=True) if bar]
    values = np.array([bar for _, bar in sound])
    timestamps = np.array([timestamp for timestamp, _ in sound])
    computed = iter(schedule.forecasts(values, timestamps).T.tolist())
    forecasts, count = [], 0
    for entry, bar in zip(entries, bars, strict=True):
        count += bar is not None
        window = slice(max(0, count - schedule.bars_needed), count)
        # A bar at fault has no forecast, but the window of the sound bars before it.
        probability, disagreement, _ = next(computed) if bar is not None else NO_FORECAST
        digest = input_digest(values[window], timestamps[window])
        checkpoint = schedule.at(timestamp_of(entry))
        forecasts.append(_RecordedForecast(checkpoint, probability, disagreement, digest))
    return forecasts


def _forecasts_bar_by_bar(
    schedule: Schedule, entries: list[Entry], bars: list[tuple[float, ...] | None]
) -> list[_RecordedForecast]:
    # The journal says which checkpoint was in force: a live folder got some of them later.
    models = {checkpoint.digest: checkpoint for checkpoint in schedule.checkpoints}
    buffer = FeatureBuffer(schedule.sequence_length, schedule.engineer)
    forecasts = []
    for entry, bar in zip(entries, bars, strict=True):
        if bar is not None:
            buffer.update(entry["number"], timestamp_of(entry), *bar)
        checkpoint = models.get(entry["model"])
        probability, disagreement, _ = schedule.newest(checkpoint, buffer) if bar else NO_FORECAST
        digest = input_digest(*buffer.inputs())
        forecasts.append(_RecordedForecast(checkpoint, probability, disagreement, digest))
    return forecasts


class _Redo:
    """One instrument of one run: decides and orders once more, by the code that did it first."""

    def __init__(self, header: Header, name: str) -> None:
        params = header["params"]
        self._name = name
        self._has_model = header["datas"][name] is not None
        # A book has no thresholds, no stops and no sizer.
        self._enter, self._exit = params.get("enter", NEUTRAL), params.get("exit", NEUTRAL)
        self.rules = DecisionRules.of(params)
        most = params["max_exposure"] if "max_exposure" in params else params["gross"]
        self.broker = RecordedBroker(name, most, header["sizer"], header["traded"])
        own = OrderRules.of(params) if "stop_loss" in params else None
        self.orders = OrderManager(
            self.broker, own or OrderRules(params["retries"], params["patience"])
        )
        self._model: ModelInForce | None = None

    def differences(
        self, entry: Entry, forecast: _RecordedForecast, decision: Decision
    ) -> list[str]:
        """Return in words what came out otherwise than the line says."""
        # Bit for bit, as text: a difference in the last digit is one.
        again = {"input": forecast.input, **decision_entry(decision)}
        # These two are taken from the journal.
        del again["position"], again["ends"]
        told = cast(dict[str, object], entry)
        return [
            f"data {self._name}, bar {day(entry['bar'])}: {part} was {told.get(part)}, is {value}"
            for part, value in again.items()
            if told.get(part) != value
        ]

    def decision(self, entry: Entry, forecast: _RecordedForecast) -> Decision:
        # In the order of the run: ends that were notified, the decision, ends found, the order.
        self.broker.begin_bar(entry, self.orders)
        reading, held, resting = self.reading(entry, forecast), self.orders.held, resting_of(entry)
        if not resting:
            self.orders.count_bar()
        wanted, reason = decide(reading, held, self.rules, resting, self.orders.bars_held)
        self.broker.end_orders_found(entry)
        decision = Decision(entry["number"], timestamp_of(entry), reading, held, wanted, reason)
        return carried_out(decision, self.orders)

    def reading(self, entry: Entry, forecast: _RecordedForecast) -> Reading:
        checkpoint = forecast.checkpoint
        if not self._has_model:
            return Reading(forecast.probability, thresholds(self._enter, self._exit))
        if checkpoint is None:
            return NO_READING
        # Its thresholds are read once for each model, not for each bar.
        if self._model is None or checkpoint is not self._model.checkpoint:
            self._model = ModelInForce(checkpoint, self._enter, self._exit, checkpoint.digest)
        return self._model.reading(
            timestamp_of(entry), forecast.probability, forecast.disagreement, forecast.behind
        )


class _BookRedo:
    """The names of one run of a book: its dates are ranked once more, and its orders sent."""

    def __init__(self, header: Header, forecasts: dict[str, Iterator[_RecordedForecast]]) -> None:
        params = header["params"]
        self._book = Book(BookRules.of(params), params["rebalance"], params["fractional"])
        self._redos = {name: _Redo(header, name) for name in header["datas"]}
        self._orders = {name: redo.orders for name, redo in self._redos.items()}
        self._trails = {name: TrailingVolatility(params["window"]) for name in header["datas"]}
        self._forecasts = forecasts

    def differences(self, lines: list[Entry]) -> list[str]:
        differences: list[str] = []
        date: DateEntry | None = None
        entries: list[Entry] = []
        for line in lines:
            if "data" in line:
                entries.append(line)
                continue
            differences += self._date(date, entries)
            # The line of a date stands before those of its names.
            date, entries = cast(DateEntry, line), []
        return differences + self._date(date, entries)

    def _date(self, date: DateEntry | None, entries: list[Entry]) -> list[str]:
        """Decide a date again; bars that came too late for their own stand after its names."""
        known = [entry for entry in entries if entry["data"] in self._redos]
        found = {}
        for entry in known:
            redo = self._redos[entry["data"]]
            if "units" in entry:
                redo.broker.begin_bar(entry, redo.orders)
            forecast = next(self._forecasts[entry["data"]])
            found[entry["data"], entry["bar"]] = forecast, redo.reading(entry, forecast)
        candidates = {
            entry["data"]: self._candidate(entry, found[entry["data"], entry["bar"]][1])
            for entry in known
        }
        # Late for their date: they were counted, and had no part in its ranking.
        passed = {entry["data"] for entry in known if "units" not in entry}
        candidates = {name: one for name, one in candidates.items() if name not in passed}
        if date is not None:
            self._rank(date, candidates)
        differences = []
        for entry in known:
            forecast, reading = found[entry["data"], entry["bar"]]
            decision = self._decision(entry, reading, candidates.get(entry["data"]))
            differences += self._redos[entry["data"]].differences(entry, forecast, decision)
        return differences

    def _candidate(self, entry: Entry, reading: Reading) -> Candidate:
        name = entry["data"]
        redo, trail = self._redos[name], self._trails[name]
        open, high, low, close, _ = (or_nan(value) for value in entry["values"])
        reason = obstacle(reading, redo.rules, resting_of(entry))
        if not bar_fault((open, high, low, close, 0.0)):
            trail.add(close)
        elif reason not in RESTING:
            reason = AT_FAULT
        worth = or_nan(entry["facts"].get("worth"))
        reason = reason or doubt(reading, redo.rules)
        return Candidate(reading.probability, reason, trail.value, worth)

    def _rank(self, date: DateEntry, candidates: dict[str, Candidate]) -> None:
        """Rank a date and cut its openings, with the account as the journal tells of it."""
        for name in date["settled"]:
            # As in trading: nothing is worked towards any more.
            self._book.units.pop(name, None)
        # Without a value of the account nothing was ranked, and the date was not counted either.
        if date["equity"] is not None and self._book.is_due(candidates):
            self._book.rank(candidates, date["held"] or {}, date["equity"])
        moves = self._book.moves(candidates, self._orders)
        if date["share"] < 1:
            self._book.cut_openings(moves, self._orders, date["share"])

    def _decision(self, entry: Entry, reading: Reading, candidate: Candidate | None) -> Decision:
        name = entry["data"]
        redo, units = self._redos[name], None
        if candidate is None:
            redo.broker.begin_bar(entry, redo.orders)
        else:
            units = self._book.units.get(name, redo.broker.size)
        held = redo.orders.held
        redo.broker.end_orders_found(entry)
        decision = Decision(
            entry["number"],
            timestamp_of(entry),
            reading,
            held,
            held if units is None else direction(units),
            (resting_of(entry) or LATE) if candidate is None else candidate.reason,
            weight=self._book.weights.get(name),
            units=units,
        )
        return carried_out(decision, redo.orders)


def resting_of(entry: Entry) -> str:
    """Return why nothing might be ordered on a bar: what live feeds reported is not made again."""
    return entry["reason"] if entry["reason"] in RESTING else ""
