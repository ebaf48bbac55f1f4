"""The command that trains a network on bars and saves a checkpoint.

python -m model.train [--data FILE] [--out FILE] [any field of TrainConfig]
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import pandas as pd
from cyclopts import App, Parameter
from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model.bars.faults import count
from model.bars.intervals import day
from model.checkpoint.checkpoint import Checkpoint
from model.cli import DATA, RUNNING, TRAINING, VERSION, BarsOptions, describe_bars, run
from model.errors import TrainingDiverged
from model.files import require_writable
from model.labels import known_after, tied_share
from model.runtime import precision_hint
from model.training.config import TrainConfig
from model.training.data import describe_purge, require_enough_bars
from model.training.fitting import fit
from model.training.loop import Epoch
from model.training.resume import resumption

app = App(version=VERSION, name="model.train")
console = Console(highlight=False)
BARS = BarsOptions()


@app.default
def train(
    *,
    bars_options: Annotated[BarsOptions, Parameter(name="*", group=DATA)] = BARS,
    out: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    deploy: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    log_json: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    fresh: Annotated[bool, Parameter(group=RUNNING)] = False,
    config: Annotated[TrainConfig, Parameter(name="*", group=TRAINING)] = TrainConfig(),
) -> None:
    """Train the network on bars and save one self-contained checkpoint.

    Parameters
    ----------
    out
        Where the checkpoint goes; default: the instrument's name with .ckpt in this folder.
    deploy
        A schedule folder: train without a test part up to the last bar and drop the checkpoint
        there, named by instrument and date.
    log_json
        A file that gets one JSON line per event.
    fresh
        Start over, even if this training was interrupted and could go on.
    """
    if out and deploy:
        raise ValueError(
            "`out` and `deploy` exclude each other: deploy names the file itself. Give one of them."
        )
    name = bars_options.file_name
    # The date in a deployed name is known after training; until then the name without it will do.
    result = deploy / name if deploy else out or Path(f"{name}.ckpt")
    require_writable(result)  # hours of work do not end in a refusal
    bars = bars_options.read()
    if deploy:
        config = config.without_test()
    require_enough_bars(bars, config)
    describe(bars, config)
    with (
        _json_log(log_json) as log,
        _progress_bar() as progress,
        resumption(result, bars, fresh=fresh) as kept,
    ):
        try:
            checkpoint = fit(bars, config, _reporter(progress, log), kept)
        except TrainingDiverged as error:
            kept.finish()
            if deploy or error.checkpoint is None:  # what did not end well is not deployed
                raise
            error.checkpoint.save(result)
            raise TrainingDiverged(
                f"{error} The best epoch before that is kept in {result}."
            ) from error
        facts = {name: getattr(checkpoint, name) for name in ("metrics", "parts", "digest")}
        log.info("trained", extra=facts)
        # A schedule knows its files by the bar that they were trained until.
        if deploy:
            result = deploy / f"{name}-{checkpoint.trained_until:%Y%m%dT%H%M%S}.ckpt"
        checkpoint.save(result)
        kept.finish()
    show(checkpoint)
    console.print(f"checkpoint: {result}\nsha256: {checkpoint.digest}", soft_wrap=True)


def describe(bars: pd.DataFrame, config: TrainConfig) -> None:
    """Print what is trained on, and whether this processor has a faster precision."""
    tied = tied_share(bars, config.label, config.horizon)
    unknown = known_after(config.label, config.horizon)
    labels = (
        f"labels: {tied:.2%} of the moves are 0 and count as not up; "
        f"the last {count(unknown, 'window')} must wait for one and are left out"
    )
    purged = f"purged: {describe_purge(config)}"
    for line in (describe_bars(bars), labels, purged, precision_hint(config.precision)):
        if line:  # a precision that is right needs no hint
            console.print(line, soft_wrap=True)


def _reporter(progress: Progress, log: logging.Logger) -> Callable[[Epoch], None]:
    """Return what `fit` is to call after each epoch.

    It prints a line, moves the progress bar on and writes a line to the log.
    """
    task = progress.add_task("epochs", total=None)

    def report(epoch: Epoch) -> None:
        best = " *" if epoch.best_epoch == epoch.epoch else ""
        progress.console.print(
            f"{epoch.member}  epoch {epoch.epoch:3d}  train {epoch.train_loss:.4f}  "
            f"validation {epoch.validation_loss:.4f}  learning rate {epoch.learning_rate:.1e}{best}"
        )
        # Each member of an ensemble starts the bar again.
        progress.update(
            task, description=epoch.member, total=epoch.max_epochs, completed=epoch.epoch
        )
        log.info("epoch", extra=asdict(epoch))

    return report


def _progress_bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("at most"),  # patience may end training earlier
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)


@contextmanager
def _json_log(path: Path | None) -> Iterator[logging.Logger]:
    """Yield a logger that writes JSON lines to `path`, or nowhere."""
    log = logging.Logger("model.train")  # not of logging's tree: nobody else's settings reach it
    handler: logging.Handler = logging.NullHandler()
    if path:
        require_writable(path)
        handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(JsonFormatter("%(message)s", rename_fields={"message": "event"}))
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()


def show(checkpoint: Checkpoint) -> None:
    """Print the parts and the scores of a trained checkpoint."""
    console.print(_parts_table(checkpoint))
    for member in checkpoint.members:
        console.print(f"{member.name}: {member.summary}; temperature {member.temperature:.2f}")
    console.print(f"trained until {day(checkpoint.trained_until)}")
    console.print(_scores_table(checkpoint))
    if len(checkpoint.members) > 1:
        console.print(_members_table(checkpoint))
    console.print(compare_with_logistic(checkpoint.metrics))


def compare_with_logistic(metrics: Mapping[str, float | None]) -> str:
    """Say which of the network and logistic regression forecasts the validation part better."""
    # On validation, not on the test part: whoever chooses by this line does not use up the test.
    network, logistic = (metrics[f"validation_{name}log_loss"] or 0.0 for name in ("", "logistic_"))
    verdict = "better than" if network < logistic else "no better than"
    return (
        f"on validation the network is {verdict} logistic regression on the last row "
        f"(log loss {network:.4f}, {logistic:.4f})"
    )


def _parts_table(checkpoint: Checkpoint) -> Table:
    table = Table("part", "windows", "first decision", "last decision", "up-share", title="parts")
    for name, part in checkpoint.parts.items():
        first, last = (part[end] and day(str(part[end])) for end in ("first", "last"))
        cells = (part["windows"], first, last, part["up_share"])
        table.add_row(name, *(_cell(value, digits=3) for value in cells))
    return table


def _scores_table(checkpoint: Checkpoint) -> Table:
    metrics = checkpoint.metrics
    parts = [part for part in ("validation", "test") if f"{part}_auc" in metrics]
    table = Table("score", *parts, title="scores")
    if "test" in parts:
        table.caption = "the test part was used for nothing else"
    for key in metrics:
        part, score = key.split("_", 1)
        if part == "validation":
            cells = (_cell(metrics[f"{part}_{score}"]) for part in parts)
            table.add_row(score.replace("_", " "), *cells)
    return table


def _members_table(checkpoint: Checkpoint) -> Table:
    """Return the scores of each member, their mean and their deviation.

    The deviation says how much luck there is in a single member.
    """
    wanted = [f"{part}_{score}" for part in ("validation", "test") for score in ("auc", "log_loss")]
    names = [name for name in wanted if name in checkpoint.metrics]
    titles = [name.replace("_", " ") for name in names]
    table = Table("member", *titles, title="members, each alone")
    for member in checkpoint.members:
        table.add_row(member.name, *(_cell(member.metrics[name]) for name in names))
    table.add_section()
    scores = pd.DataFrame([member.metrics for member in checkpoint.members], dtype=float)[names]
    table.add_row("mean", *map(_cell, scores.mean()))
    table.add_row("deviation", *map(_cell, scores.std()))
    return table


def _cell(value: object, digits: int = 4) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    # Counts among the scores are floats too.
    return f"{value:.0f}" if value > 1 and value.is_integer() else f"{value:.{digits}f}"


if __name__ == "__main__":
    run(app)
