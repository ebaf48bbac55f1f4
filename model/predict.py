"""The command that predicts: python -m model.predict --checkpoint FILE_OR_FOLDER --data FILE."""

import warnings
from pathlib import Path
from typing import Annotated

import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from model.bars.intervals import day
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.cli import VERSION, BarsOptions, run
from model.errors import BarsWarning, CheckpointError
from model.settings import number, optional, require

app = App(version=VERSION, name="model.predict")
console = Console(highlight=False)


@app.default
def predict(
    *,
    checkpoint: Path,
    bars_options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions(),
    enter: float | None = None,
) -> None:
    """Print the probability that the bar to come goes up, and the decision.

    Parameters
    ----------
    checkpoint
        A file of model.train, or a schedule folder: then the newest one not trained beyond the
        last bar decides.
    enter
        Probability from which the decision is to be long; default: the checkpoint's own, or .50.
    """
    require({"enter": enter}, {"enter": optional(number(0.5, below=1))})
    bars = bars_options.read(minimum_bars=None)
    schedule = Schedule(checkpoint)
    model, last = model_at(schedule, bars.index[-1]), bars.index[-1]
    instrument = bars.attrs.get("instrument")
    if model.instrument and instrument and model.instrument != instrument:
        message = f"the checkpoint was trained on {model.instrument}, these bars are {instrument}."
        warnings.warn(BarsWarning(message), stacklevel=2)
    if last < model.trained_until:
        message = (
            f"the last bar, {day(last)}, lies before {day(model.trained_until)}, "
            "until which the model has seen prices: this is no forecast. Give newer bars."
        )
        warnings.warn(BarsWarning(message), stacklevel=2)
    probability = float(model.probabilities(bars.iloc[-model.bars_needed :]).iloc[-1])
    decision = decision_of(model, last, probability, enter or model.enter or 0.5)
    move = "its open" if model.label == "open" else "the close before it"
    about = f"the move over {model.horizon} bar(s) from the next bar, measured from {move}"
    title = f"{instrument or 'bars'}: decided at the close of {day(last)}"
    table = Table(show_header=False, title=title)
    table.add_column()
    table.add_column(overflow="fold")  # a path is whole or it is none
    table.add_row("probability of up", f"{probability:.4f}")
    table.add_row("decision", decision)
    table.add_row("about", about)
    table.add_row("model", str(schedule.file(model)))
    table.add_row("trained until", day(model.trained_until))
    console.print(table)


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
    position = "long" if probability >= enter else "no long position"
    return f"{position} (long from {enter:.2f})"


if __name__ == "__main__":
    run(app)
