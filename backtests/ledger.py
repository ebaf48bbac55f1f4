"""The command that shows what was tried, and how much of it luck explains.

python backtests/ledger.py [--data FILE] [--ledger FILE] [--json]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from cyclopts import App, Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backtests import evidence, reports
from backtests.walk_forward.ledger import (
    ENDING,
    LedgerError,
    Line,
    Subject,
    counted,
    each_once,
    is_on,
    ledger_path,
    ledgers_folder,
    lines_of,
    returns_of,
    subject_of,
    trial_of,
    trials_on,
)
from backtests.walk_forward.plan import Settings
from model.bars.faults import count
from model.bars.read import require_usual_spacing
from model.cli import (
    ALL_BUT_DATA,
    DATA,
    RUNNING,
    VERSION,
    BarsOptions,
    bar_files,
    read_universe,
    run,
)
from model.metrics import sharpe

if TYPE_CHECKING:
    from backtests.evidence.overfitting import Overfitting

LEGEND = (
    "Sharpe: annual, net of costs. deflated: the probability that it lies above the best by luck "
    "of so many trials, those that share half of its dates."
)
FOLLOWING = ("train", "validation")  # settings that the plan's validation_share decides

app = App(version=VERSION, name="backtests/ledger.py")
console = Console(highlight=False)


@dataclass(frozen=True)
class Entry:
    """A trial as a reader wants to know it; None where an older version did not note it.

    tried: when. first, last, decisions: what was tested. sharpe: annual, net of costs. deflated:
    the probability that it lies above the best by luck of so many trials, those that count beside
    it and itself.
    """

    tried: str | None
    settings: str
    first: str | None = None
    last: str | None = None
    decisions: int | None = None
    sharpe: float | None = None
    deflated: float | None = None
    trials: int | None = None


@dataclass(frozen=True)
class Page:
    """What a ledger knows of one instrument and interval, or of one universe.

    instrument, interval: None where an older version did not note them. instruments: those of a
    universe, else none. repeated: lines of the file that say a trial again, which counts once.
    overfitting: over the last trial and those that count beside it; None where no trial has its
    returns.
    """

    ledger: str
    instrument: str | None
    interval: str | None
    instruments: list[str]
    trials: list[Entry]
    repeated: int
    overfitting: Overfitting | None


@app.default
def show_trials(
    *,
    data: Annotated[Path | None, Parameter(group=DATA)] = None,
    bars_options: Annotated[
        BarsOptions, Parameter(group=DATA, name="*", parse=ALL_BUT_DATA)
    ] = BarsOptions(),
    ledger: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    json: Annotated[bool, Parameter(group=RUNNING, negative=())] = False,
) -> None:
    """Show what was tried, and how much of it luck explains.

    Parameters
    ----------
    data
        A file of bars: only what was tried on their instrument and interval; a folder: on its
        instruments together. Default: on all.
    ledger
        The ledger, where it is not in your user data folder.
    json
        Print the same as JSON.
    """
    wanted = None
    if data and data.is_dir():
        universe, _ = read_universe(bars_options, bar_files([data]), require_usual_spacing)
        wanted = subject_of(universe)
    elif data:
        wanted = subject_of(replace(bars_options, data=data).read())
    else:
        # Flags of how to read a file do nothing without one.
        bars_options.require_file()
    pages = [
        page
        for path in _ledgers(ledger, wanted)
        for page in pages_of(path, wanted)
        if wanted or bars_options.instrument in (None, page.instrument)
    ]
    if json:
        print(dumps([asdict(page) for page in pages], indent=2, allow_nan=False))
        return
    for page in pages:
        _print(page)
    if pages:
        console.print(LEGEND, soft_wrap=True)
    else:
        place = ledger or (ledger_path(wanted) if wanted else ledgers_folder())
        console.print(f"nothing was tried yet: no trial in {place}", soft_wrap=True, markup=False)


def _ledgers(ledger: Path | None, wanted: Subject | None) -> list[Path]:
    """Return the ledgers to read; LedgerError where the one that is named is not there."""
    if ledger:
        if not ledger.is_file():
            raise LedgerError(
                f"{ledger} must be a ledger of trials, got no such file. Name one that a "
                "walk-forward wrote, or leave --ledger out for those of your user data folder."
            )
        return [ledger]
    if wanted:
        # Older versions named a ledger by the digest of its bars.
        older = f"{wanted.data[:16]}{ENDING}"
        return [path for path in (ledger_path(wanted), ledgers_folder() / older) if path.exists()]
    return sorted(ledgers_folder().glob(f"*{ENDING}"))


def pages_of(path: Path, wanted: Subject | None = None) -> list[Page]:
    """Return what a ledger knows, a page for each instrument and interval, or universe.

    wanted: only what counts on it.
    """
    lines = lines_of(path)
    pages: dict[tuple[str | None, str | None, tuple[str, ...]], list[Line]] = {}
    for line in lines:
        # What older versions did not note is asked for as None, and has a page of its own.
        on = (line.get("instrument"), line.get("interval"), tuple(line.get("names", ())))
        if wanted is None or is_on(wanted, line):
            pages.setdefault(on, []).append(line)
    return [_page(path, lines, own) for own in pages.values()]


def _page(path: Path, lines: Sequence[Line], own: Sequence[Line]) -> Page:
    """Return the page of a ledger's own lines on one instrument and interval."""
    entries, latest = [], None
    for line in (trials := each_once(own)):
        trial, entry = trial_of(line), Entry(line.get("date"), settings_in_short(line))
        if trial.file:
            net, years = returns_of(trial), line.get("bars_per_year")
            names = tuple(line.get("names", ()))
            on = Subject(line["instrument"], line["interval"], line["data"], names)
            # Whatever was tried on the same dates made this one easier to find by luck.
            others = trials_on(on, path, lines, line["key"])
            beside = counted(others, pd.DatetimeIndex(net.index), {trial.positions})
            figures = evidence.sharpe_figures(net.to_numpy(), evidence.Trials(beside.sharpes))
            entry = replace(
                entry,
                first=str(net.index[0]),
                last=str(net.index[-1]),
                decisions=len(net),
                # Without the bars per year a ratio per bar is no annual one.
                sharpe=sharpe(net.to_numpy(), years) if years else None,
                deflated=figures.deflated if figures else None,
                trials=1 + len(beside.sharpes),
            )
            # Of the last trial alone: it has all others beside it.
            latest = [net, *beside.returns]
        entries.append(entry)
    return Page(
        str(path),
        own[0].get("instrument"),
        own[0].get("interval"),
        own[0].get("names", []),
        entries,
        len(own) - len(trials),
        evidence.overfitting_probability(latest) if latest else None,
    )


def settings_in_short(line: Line) -> str:
    """Return the architecture of a trial and what else is not as by default."""
    words = [str(line.get("training", {}).get("architecture", "not known"))]
    for part, defaults in reports.describe_settings(Settings()).items():
        words += [
            f"{name.replace('_', ' ')} {value}"
            for name, value in line.get(part, {}).items()
            # What is as by default says nothing of a trial.
            if value != defaults.get(name) and name not in FOLLOWING
        ]
    if searched := line.get("searched_trials"):
        words.append(f"searched in {count(searched, 'trial')}")
    return ", ".join(words)


def _print(page: Page) -> None:
    name = page.instrument or "trials of an older version, which noted no instrument and no dates"
    if page.instruments:
        # Hundreds of names would fill the screen: the first and the last tell which universe it is.
        number = count(len(page.instruments), "instrument")
        name = f"{number}, {page.instruments[0]} to {page.instruments[-1]}"
    bars = f", bars of {page.interval}" if page.interval else ""
    table = Table(
        title=escape(f"{name}{bars}"), box=SIMPLE_HEAD, title_justify="left", collapse_padding=True
    )
    for header in ("tried", "settings", "tested"):
        table.add_column(header, no_wrap=header != "settings")
    for header in ("decisions", "Sharpe", "deflated", "trials"):
        table.add_column(header, justify="right", no_wrap=True)
    for entry in page.trials:
        table.add_row(
            reports.shown(entry.tried and entry.tried[:10], ""),
            escape(entry.settings),
            f"{entry.first[:10]}\n{entry.last[:10]}" if entry.first and entry.last else "-",
            *(
                reports.shown(value, form)
                for value, form in (
                    (entry.decisions, ","),
                    (entry.sharpe, ".2f"),
                    (entry.deflated, ".3f"),
                    (entry.trials, ","),
                )
            ),
        )
    console.print(table)
    if page.overfitting:
        console.print(page.overfitting.sentence, soft_wrap=True)
    again = ""
    if page.repeated:
        repeat = "repeats" if page.repeated == 1 else "repeat"
        again = f", beside {count(page.repeated, 'line')} that {repeat} one of them"
    console.print(
        f"{count(len(page.trials), 'trial')} in {page.ledger}{again}", soft_wrap=True, markup=False
    )


if __name__ == "__main__":
    run(app)
