"""The command that predicts: python -m model.predict --checkpoint FILE_OR_FOLDER --data FILE.

With --data FOLDER it ranks the instruments of a universe.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from model.bars.intervals import day
from model.bars.universe import together
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.cli import VERSION, BarsOptions, OnFaulty, bar_files, read_universe, run
from model.errors import BarsWarning, CheckpointError
from model.settings import number, optional, require

app = App(version=VERSION, name="model.predict")
console = Console(highlight=False)

# What a probability is of, by the outcome that the model learnt.
PROBABILITY = {
    "direction": "probability of up",
    "relative": "probability of more than the median",
}


@app.default
def predict(
    *,
    checkpoint: Path,
    bars_options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions(),
    on_faulty: OnFaulty = "error",
    enter: float | None = None,
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
        Probability from which the decision is to be long; default: the checkpoint's own, or .50.
    """
    require({"enter": enter}, {"enter": optional(number(0.5, below=1))})
    schedule = Schedule(checkpoint)
    path = bars_options.data
    if path and path.is_dir():
        universe, left_out = read_universe(
            bars_options, bar_files([path]), len, on_faulty, together=together
        )
        for one in left_out:
            console.print(f"left out {one.file}: {one.reason}", soft_wrap=True, markup=False)
        console.print(ranking(schedule, universe))
        return
    bars = bars_options.read(minimum_bars=None)
    model, last = model_at(schedule, bars.index[-1]), bars.index[-1]
    instrument = bars.attrs.get("instrument")
    if model.instrument and instrument and model.instrument != instrument:
        message = f"the checkpoint was trained on {model.instrument}, these bars are {instrument}."
        warnings.warn(BarsWarning(message), stacklevel=2)
    warn_if_seen(model, last)
    probability = float(model.probabilities(bars.iloc[-model.bars_needed :]).iloc[-1])
    decision = decision_of(model, last, probability, enter or model.enter or 0.5)
    title = f"{instrument or 'bars'}: decided at the close of {day(last)}"
    table = Table(show_header=False, title=title)
    table.add_column()
    table.add_column(overflow="fold")  # a path is whole or it is none
    table.add_row(PROBABILITY[model.outcome], f"{probability:.4f}")
    table.add_row("decision", decision)
    table.add_row("about", about(model))
    table.add_row("model", str(schedule.file(model)))
    table.add_row("trained until", day(model.trained_until))
    console.print(table)


def ranking(schedule: Schedule, universe: Mapping[str, pd.DataFrame]) -> Table:
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
    newest = scores.reindex([last]).iloc[0].sort_values(ascending=False, kind="stable")
    table = Table(
        "rank",
        "instrument",
        PROBABILITY[model.outcome],
        "learnt from",
        title=f"decided at the close of {day(last)}",
        caption=f"about {about(model)}; {schedule.file(model)}, "
        f"trained until {day(model.trained_until)}",
    )
    for rank, (name, probability) in enumerate(newest.dropna().items(), 1):
        known = "yes" if name in (model.instruments or ()) else "no"
        table.add_row(str(rank), str(name), f"{probability:.4f}", known)
    for name in newest.index[newest.isna()]:
        bars = universe[str(name)]
        why = f"last bar {day(bars.index[-1])}" if bars.index[-1] < last else f"{len(bars)} bars"
        table.add_row("-", str(name), f"none: {why}", "")
    return table


def warn_if_seen(model: Checkpoint, last: pd.Timestamp) -> None:
    """Say that what the model has seen in training is no forecast."""
    if last < model.trained_until:
        message = (
            f"the last bar, {day(last)}, lies before {day(model.trained_until)}, "
            "until which the model has seen prices: this is no forecast. Give newer bars."
        )
        warnings.warn(BarsWarning(message), stacklevel=2)


def about(model: Checkpoint) -> str:
    """Return which move a probability is about, in words."""
    move = "its open" if model.label == "open" else "the close before it"
    return f"the move over {model.horizon} bar(s) from the next bar, measured from {move}"


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
    return f"{position} (long from {enter:.2f})"


if __name__ == "__main__":
    run(app)
