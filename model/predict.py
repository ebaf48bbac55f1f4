"""The command that predicts: python -m model.predict --checkpoint FILE_OR_FOLDER --data FILE.

With --data FOLDER it ranks the instruments of a universe.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from json import dumps
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, TypedDict

import numpy as np
import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from model import checkpoint as checkpoints
from model.bars.faults import count
from model.bars.intervals import day, spoken
from model.bars.universe import faults_together, universe_of
from model.cli import RUNNING, VERSION, BarsOptions, OnFaulty, bar_files, errors, read_universe, run
from model.context import ContextOptions, age_words
from model.errors import BarsWarning, CheckpointError, FeatureError
from model.features.registry import own_features
from model.metrics import auc_standard_error
from model.settings import number, optional, require

if TYPE_CHECKING:
    from model.checkpoint.checkpoint import Checkpoint
    from model.checkpoint.schedule import Schedule

app = App(version=VERSION, name="model.predict")
console = Console(highlight=False)

# What a probability is of, by the outcome that the model learnt.
PROBABILITY = {
    "direction": "probability of up",
    "relative": "probability of more than the median",
}
NAMED = 5  # instruments without bars that the table names; JSON names all


class Facts(TypedDict):
    """What a forecast is about, and how far its model is to be trusted.

    age: bar intervals since `trained_until`, nights and weekends included. test_auc: None without a
    test part. chance_auc: what a coin toss stays below on such a part in 95 of 100 cases.
    """

    about: str
    model: str
    trained_until: str
    age: int
    bar_interval: str
    test_auc: float | None
    chance_auc: float | None


class ForecastFound(Facts):
    """The forecast of one instrument, as --json prints it."""

    instrument: str | None
    decided_at: str
    probability_of: str
    probability: float | None
    decision: str
    enter: float


class Ranked(TypedDict):
    """The place of one instrument, or why it has none."""

    rank: int | None
    instrument: str
    probability: float | None
    learnt_from: bool
    why_none: str | None


class Ranking(Facts):
    """The ranking of a universe, as --json prints it.

    absent: instruments that the model learnt from, and of which no bars were given.
    """

    decided_at: str
    probability_of: str
    ranking: list[Ranked]
    absent: list[str]


@app.default
def predict(
    *,
    checkpoint: Path,
    bars_options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions(),
    on_faulty: OnFaulty = "error",
    enter: float | None = None,
    features: str = "",
    context: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    json: Annotated[bool, Parameter(group=RUNNING, negative=())] = False,
) -> None:
    """Print the probability that the bar to come goes up, and the decision.

    Of a folder of files, a universe, the instruments are ranked by their probabilities.

    Parameters
    ----------
    checkpoint
        A file of model.train, or a schedule folder: then the newest one not trained beyond the
        last bar decides.
    on_faulty
        Files of a universe that cannot be used: "error" refuses the universe and names them all,
        "drop" leaves them out and names them.
    enter
        Probability from which the decision is to be long; default: the checkpoint's own, or .50. Of
        a folder nothing is decided.
    features
        The features of your own that the checkpoint was trained with, as my_features.py:Momentum,
        separated by commas.
    context
        The files of the other series that the checkpoint was trained with, as spy.csv vix.csv;
        columns, zones and slower bars it knows itself.
    json
        Print one object of JSON, and nothing else; null where there is no forecast.
    """
    require({"enter": enter}, {"enter": optional(number(0.5, below=1))})
    own_features(features)  # known from here on
    others = ContextOptions(context=context)
    schedule = checkpoints.Schedule(checkpoint)
    path = bars_options.data
    found: Ranking | ForecastFound
    if path and path.is_dir():
        if enter is not None:
            raise ValueError(
                f"`enter` must be left out for a folder, got {enter:g}: its instruments are "
                "ranked, and no position is decided. Give one file, or leave it out."
            )
        universe, left_out = read_universe(
            bars_options, bar_files([path]), len, on_faulty, together=faults_together
        )
        for one in left_out:
            errors.print(f"left out {one.file}: {one.reason}", markup=False)
        joined, ages = others.serve(universe, bars_options, schedule.context)
        found = ranking(schedule, universe_of(joined))
        table = ranking_table(found)
    else:
        bars, ages = others.serve(bars_options.read(), bars_options, schedule.context)
        [own] = universe_of(bars).values()
        found = forecast(schedule, own, enter, given=path is not None)
        table = forecast_table(found)
    if json:
        console.print_json(dumps({**found, **({"series_age_seconds": ages} if ages else {})}))
        return
    console.print(table)
    for line in age_words(ages):
        console.print(line, soft_wrap=True, markup=False)


def forecast(
    schedule: Schedule, bars: pd.DataFrame, enter: float | None, *, given: bool
) -> ForecastFound:
    """Return the forecast at the last bar.

    given: whether the user named the bars; else they are the sample's, of which only a model of the
    sample is asked.
    """
    model, last = model_at(schedule, bars.index[-1]), bars.index[-1]
    instrument = bars.attrs.get("instrument")
    judge_instrument(model, instrument, given=given)
    warn_if_seen(model, last)
    probability = float(model.probabilities(bars.iloc[-model.bars_needed :]).iloc[-1])
    if math.isnan(probability):
        window = bars.iloc[-model.sequence_length :]
        missing = [
            series.title
            for series in (model.context.series if model.context else ())
            if window[list(series.names)].isna().any(axis=None)
        ]
        of = missing or [record.name for record in model.features]
        remedy = (
            "Give newer bars of it." if missing else "Let their transform say what stands there."
        )
        raise FeatureError(
            f"features must be finite numbers in the whole window that ends at {day(last)}, got "
            f"none somewhere in those of {', '.join(of)}. {remedy}"
        )
    # What the user says goes before what validation chose.
    enter = enter or model.enter or 0.5
    return {
        "instrument": instrument,
        "decided_at": day(last),
        "probability_of": PROBABILITY[model.outcome],
        # What training has seen is no forecast.
        "probability": probability if last >= model.trained_until else None,
        "decision": decision_of(model, last, probability, enter),
        "enter": enter,
        **facts_of(model, schedule, last),
    }


def judge_instrument(model: Checkpoint, instrument: str | None, *, given: bool) -> None:
    """Warn of bars of another instrument than the model's; refuse them where none were given.

    A model of several instruments serves any, but who asks it without bars has forgotten them.
    """
    learnt, several = model.instruments or {}, len(model.instruments or ()) > 1
    other = model.instrument is not None and instrument not in (None, model.instrument)
    if not given and (other or (several and instrument not in learnt)):
        raise ValueError(
            f"`data` must be given: without it the bars are those of {instrument}, and the model "
            f"was trained on {count(len(learnt), 'instrument') if several else model.instrument}."
        )
    if other:
        message = f"the checkpoint was trained on {model.instrument}, these bars are {instrument}."
        warnings.warn(BarsWarning(message), stacklevel=3)


def forecast_table(found: ForecastFound) -> Table:
    """Return the forecast as the terminal shows it."""
    table = Table(
        show_header=False,
        title=f"{found['instrument'] or 'bars'}: decided at the close of {found['decided_at']}",
    )
    table.add_column()
    table.add_column(overflow="fold")  # a path is whole or it is none
    probability = found["probability"]
    table.add_row(found["probability_of"], "-" if probability is None else f"{probability:.4f}")
    for name in ("decision", "about", "model", "trained_until"):
        table.add_row(name.replace("_", " "), str(found.get(name)))
    for name, words in zip(("age", "test AUC"), trust_words(found), strict=True):
        table.add_row(name, words)
    return table


def facts_of(model: Checkpoint, schedule: Schedule, last: pd.Timestamp) -> Facts:
    until, chance = pd.Timestamp(model.trained_until), None
    area, windows = model.metrics.get("test_auc"), model.metrics.get("test_windows")
    if area is not None and windows:
        ups = round(windows * (model.metrics["test_up_share"] or 0))
        labels = (np.arange(int(windows)) < ups).astype(np.float64)
        # That of a coin toss on a part with the same share of ups.
        chance = 0.5 + NormalDist().inv_cdf(0.95) * auc_standard_error(labels)
    return {
        "about": str(model.labelling),
        "model": str(schedule.file(model)),
        "trained_until": day(until),
        # Bars that end before training does make it no younger than new.
        "age": max(0, int((last - until) // model.bar_interval)),
        "bar_interval": spoken(model.bar_interval),
        "test_auc": area,
        "chance_auc": chance,
    }


def trust_words(facts: Facts) -> tuple[str, str]:
    """Return the age and the test AUC of a model in words."""
    age = (
        f"{count(facts['age'], 'bar interval')} of {facts['bar_interval']} after that, nights and "
        "weekends included"
    )
    if facts["test_auc"] is None:
        return age, "none: it was trained without a test part"
    return age, (
        f"{facts['test_auc']:.3f}; a coin toss has .500, and in 95 of 100 cases less than "
        f"{facts['chance_auc']:.3f}"
    )


def ranking(schedule: Schedule, universe: Mapping[str, pd.DataFrame]) -> Ranking:
    """Return the instruments by their probabilities at the last close that one of them has."""
    last = max(bars.index[-1] for bars in universe.values())
    model = model_at(schedule, last)
    if len(model.instruments or ()) < 2:
        raise CheckpointError(
            f"{schedule.file(model)} must have learnt from several instruments to rank them, got "
            f"{model.instrument or 'one'}. Train one with --pooled, or give one file of bars."
        )
    warn_if_seen(model, last)
    # No more bars than the newest window needs.
    scores = model.scores(
        {name: bars.iloc[-model.bars_needed :] for name, bars in universe.items()}
    )
    # Who has no bar at the last close has no forecast of the bar to come.
    newest = scores.reindex([last]).iloc[0].sort_values(ascending=False, kind="stable")
    # What training has seen is no forecast.
    seen = last < model.trained_until
    rows: list[Ranked] = []
    for rank, (name, probability) in enumerate(newest.items(), 1):
        bars, known = universe[str(name)], str(name) in (model.instruments or ())
        missing = seen or math.isnan(probability)
        late = f"last bar {day(bars.index[-1])}" if bars.index[-1] < last else f"{len(bars)} bars"
        if bars.index[-1] == last and len(bars) >= model.bars_needed:
            late = "a feature without a number"
        rows.append(
            {
                "rank": None if missing else rank,
                "instrument": str(name),
                "probability": None if missing else probability,
                "learnt_from": known,
                "why_none": ("seen in training" if seen else late) if missing else None,
            }
        )
    return {
        "decided_at": day(last),
        "probability_of": PROBABILITY[model.outcome],
        "ranking": rows,
        "absent": [name for name in model.instruments or () if name not in universe],
        **facts_of(model, schedule, last),
    }


def ranking_table(ranked: Ranking) -> Table:
    """Return the ranking as the terminal shows it."""
    age, tested = trust_words(ranked)
    absent = ranked["absent"]
    # With fewer names beside it the same probability stands at another rank.
    without = (
        f"; without bars: {count(len(absent), 'instrument')} that it learnt from: "
        f"{', '.join(absent[:NAMED])}{', ...' if len(absent) > NAMED else ''}"
        if absent
        else ""
    )
    table = Table(
        "rank",
        "instrument",
        ranked["probability_of"],
        "learnt from",
        title=f"decided at the close of {ranked['decided_at']}",
        caption=f"about {ranked['about']}; {ranked['model']}, trained until "
        f"{ranked['trained_until']}; age: {age}; test AUC: {tested}{without}",
        caption_justify="left",
    )
    for row in ranked["ranking"]:
        if row["rank"] is None:
            table.add_row("-", row["instrument"], f"none: {row['why_none']}", "")
        else:
            known = "yes" if row["learnt_from"] else "no"
            table.add_row(str(row["rank"]), row["instrument"], f"{row['probability']:.4f}", known)
    return table


def warn_if_seen(model: Checkpoint, last: pd.Timestamp) -> None:
    """Say that what the model has seen in training is no forecast."""
    if last < model.trained_until:
        message = (
            f"the last bar, {day(last)}, lies before {day(model.trained_until)}, "
            "until which the model has seen prices: this is no forecast. Give newer bars."
        )
        warnings.warn(BarsWarning(message), stacklevel=2)


def model_at(schedule: Schedule, timestamp: pd.Timestamp) -> Checkpoint:
    """Return the checkpoint in force at the close of a bar.

    The only one of a folder is so before its time too: it is shown, but not as a forecast.
    """
    checkpoint = schedule.at(timestamp.as_unit("ns").value)
    if checkpoint is not None:
        return checkpoint
    earliest, *others = schedule.checkpoints
    if others:
        raise CheckpointError(
            f"no checkpoint may decide at {day(timestamp)}: the earliest, "
            f"{schedule.file(earliest)}, has seen prices until {day(earliest.trained_until)}. "
            "Give newer bars or an older checkpoint."
        )
    return earliest


def decision_of(
    model: Checkpoint, timestamp: pd.Timestamp, probability: float, enter: float
) -> str:
    # Before that the model has seen the very move that it would forecast.
    if timestamp < model.trained_until:
        return "none, as this is no forecast"
    if model.outcome == "relative":
        return "none: it ranks instruments"
    position = "long" if probability >= enter else "no long position"
    return f"{position} (long from {enter:.4f})"


if __name__ == "__main__":
    run(app)
