"""The command that predicts: python -m model.predict --checkpoint FILE_OR_FOLDER --data FILE."""

import warnings
from pathlib import Path
from typing import Annotated

import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from model.bars.faults import day
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import in_force, load_schedule
from model.cli import VERSION, BarsOptions, run
from model.errors import BarsWarning

app = App(
    version=VERSION,
    name="model.predict",
    help="Print the probability that the bar to come goes up, and the decision.",
)
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
        A file of model.train, or a schedule folder: then the newest one not trained beyond the last bar decides.
    enter
        Probability from which the decision is to be long; default: the checkpoint's own, or .50.
    """
    if enter is not None and not 0.5 <= enter < 1:
        raise ValueError(f"`enter` must be at least .5 and below 1, got {enter}.")
    bars = bars_options.read(minimum_bars=None)
    path, model = in_force(load_schedule(checkpoint), pd.Timestamp(bars.index[-1]))
    _warn(model, bars)
    probability = float(model.probabilities(bars.iloc[-model.bars_needed :]).iloc[-1])
    console.print(_table(path, model, bars, probability, enter or model.enter or 0.5))


def _warn(model: Checkpoint, bars: pd.DataFrame) -> None:
    instrument = bars.attrs.get("instrument")
    if model.instrument and instrument and model.instrument != instrument:
        _note(f"the checkpoint was trained on {model.instrument}, these bars are {instrument}.")
    if _seen(model, bars):
        _note(
            f"the last bar, {day(bars.index[-1])}, lies before {day(model.trained_until)}, "
            "until which the model has seen prices: this is no forecast. Give newer bars."
        )


def _seen(model: Checkpoint, bars: pd.DataFrame) -> bool:
    return bool(bars.index[-1] < model.trained_until)


def _note(message: str) -> None:
    warnings.warn(BarsWarning(message), stacklevel=3)


def _table(
    path: Path, model: Checkpoint, bars: pd.DataFrame, probability: float, enter: float
) -> Table:
    move = "its open" if model.label == "open" else "the close before it"
    decision = f"{'long' if probability >= enter else 'no long position'} (long from {enter:.2f})"
    if _seen(model, bars):
        decision = "none, as this is no forecast"
    instrument = bars.attrs.get("instrument") or "bars"
    table = Table(
        show_header=False,
        title=f"{instrument}: decided at the close of {day(bars.index[-1])}",
    )
    table.add_column()
    table.add_column(overflow="fold")  # a path is whole or it is none
    table.add_row("probability of up", f"{probability:.4f}")
    table.add_row("decision", decision)
    table.add_row(
        "about", f"the move over {model.horizon} bar(s) from the next bar, measured from {move}"
    )
    table.add_row("model", str(path))
    table.add_row("trained until", day(model.trained_until))
    return table


if __name__ == "__main__":
    run(app)
