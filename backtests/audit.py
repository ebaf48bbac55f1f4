"""The command that looks for look-ahead.

python backtests/audit.py [--data FILE] [--checkpoint FILE_OR_FOLDER]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from backtests import lookahead
from backtests.progress import tracker
from model import checkpoint as checkpoints
from model import training
from model.bars.universe import universe_of
from model.cli import VERSION, BarsOptions, describe_bars, run
from model.context import NO_CONTEXT, ContextOptions
from model.features.registry import own_features
from model.features.series import OWN
from model.labels.barrier import Barrier
from model.labels.labelling import BARRIER
from model.training.config import TrainConfig

if TYPE_CHECKING:
    from backtests.lookahead.checks import Step
    from backtests.lookahead.detectors import LeakResult
    from model.checkpoint.schedule import Schedule

SHOWN = 10

app = App(version=VERSION, name="backtests/audit.py")
console = Console(highlight=False)


@app.default
def audit(
    *,
    bars_options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions(),
    checkpoint: Path | None = None,
    label: str | None = None,
    horizon: int | None = None,
    take_profit: str = "",
    stop_loss: str = "",
    commission: float = 0.0,
    slippage: float = 0.0,
    features: str = "",
    only: bool = False,
    context_options: Annotated[ContextOptions, Parameter(name="*")] = NO_CONTEXT,
    cuts: int = 50,
    seed: int = 1,
) -> int:
    """Look for look-ahead: compute all again with another future, and count what differs.

    Leaves with exit code 0 if nothing differs, with 1 if anything does.

    Parameters
    ----------
    checkpoint
        A file of model.train, or a schedule folder: what it says, trades and was trained on is
        audited too.
    label
        What is predicted, where no checkpoint says it; default: open.
    horizon
        Bars over which the move is measured, where no checkpoint says it; default: 1.
    take_profit, stop_loss, commission, slippage
        Of the label "barrier", where no checkpoint says them, as for training.
    features
        Features of your own, as my_features.py:Momentum, separated by commas: audited at every bar.
    only
        Leave our 86 features out, where no checkpoint says it.
    cuts
        Bars at which the whole history is cut, drawn with the seed; features and probabilities are
        cut at every bar besides.
    seed
        Seed of the cuts.
    """
    chosen = lookahead.Cuts(cuts, seed)
    own_features(features)  # known from here on
    schedule = checkpoints.Schedule(checkpoint) if checkpoint else None
    asked = Barrier(stop_loss, take_profit, commission, slippage) if label == BARRIER else None
    config = _config(schedule, label, horizon, asked)
    if schedule is None:
        config = replace(config, features=features, only=only)
    read = bars_options.read()
    record = schedule.context if schedule else None
    joined = context_options.join(read, bars_options, config.lookback, record=record)
    [bars] = universe_of(joined.bars).values()
    for line in (describe_bars(bars), *joined.lines):
        console.print(line, soft_wrap=True)
    # The way from bars to training is audited without a checkpoint too: a leak there needs no
    # model.
    series = {**joined.series, OWN: read}
    steps = lookahead.PipelineChecks(bars, training.prepare(bars, config), chosen, series).steps
    if schedule:
        steps |= lookahead.CheckpointChecks(bars, schedule, chosen).steps
    checks = list(_run(steps))
    show(checks)
    # As an exit code, so that a script or CI can refuse to go on.
    return int(any(check.differences for check in checks))


def _config(
    schedule: Schedule | None, label: str | None, horizon: int | None, barrier: Barrier | None
) -> TrainConfig:
    if schedule is None:
        horizon = 1 if horizon is None else horizon
        levels = asdict(barrier) if barrier else {}
        return TrainConfig(label=label or "open", horizon=horizon, **levels)
    if label is not None or horizon is not None:
        raise ValueError("`label` and `horizon` are stated by the checkpoint. Leave them out.")
    first = schedule.checkpoints[0]
    # What the checkpoint was trained for; another label would be audited against the wrong prices.
    return TrainConfig(
        label=first.label,
        horizon=first.horizon,
        **(asdict(first.barrier) if first.barrier else {}),
        features=",".join(record.name for record in first.features),
        only=first.only,
        sequence_length=first.sequence_length,
    )


def _run(steps: dict[str, Step]) -> Iterator[LeakResult]:
    """Run the checks one after the other, and say how far each that takes a while is."""
    for number, (name, step) in enumerate(steps.items(), 1):
        yield step(tracker(console, f"check {number} of {len(steps)}, {name}"))


def show(checks: Sequence[LeakResult]) -> None:
    """Print what was compared and what differs, and where it does first."""
    table = Table("check", "compared", "differences", title="look-ahead")
    table.columns[1].justify = table.columns[2].justify = "right"
    for check in checks:
        # Red, as the one row that matters among a dozen must not be overlooked.
        mark = "[bold red]" if check.differences else ""
        table.add_row(
            check.name,
            f"{check.compared:,}" if check.compared else "-",
            f"{mark}{check.differences:,}",
        )
    console.print(table)
    for check in checks:
        if check.note:
            console.print(f"{check.name}: {check.note}", soft_wrap=True)
    findings = [found for check in checks for found in check.findings]
    # One leak shows in hundreds of values; the earliest of each item say where to look.
    for found in findings[:SHOWN]:
        console.print(str(found), soft_wrap=True, markup=False)
    if len(findings) > SHOWN:
        console.print(f"and {len(findings) - SHOWN} more values that know the future")


if __name__ == "__main__":
    run(app)
