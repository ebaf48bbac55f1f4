"""The command that holds what was traded live against the backtest of the same bars.

python -m strategy_plugin.reconcile runs/live/decisions.jsonl --data bars.csv
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console

from model.bars.faults import count
from model.bars.intervals import day
from model.cli import (
    ALL_BUT_DATA,
    DATA,
    VERSION,
    BarsOptions,
    bar_files,
    run,
    sources_of,
)
from model.context import ContextOptions
from model.errors import BarsError
from model.features.registry import own_features
from model.files import require_writable, write_atomically
from strategy_plugin import live

if TYPE_CHECKING:
    from strategy_plugin.live.reconciling import Reconciliation

app = App(version=VERSION, name="strategy_plugin.reconcile")
console = Console(highlight=False, soft_wrap=True)


@app.default
def reconcile(
    journal: Path,
    /,
    *,
    data: Annotated[list[Path], Parameter(group=DATA, consume_multiple=True, negative=())],
    bars_options: Annotated[
        BarsOptions, Parameter(name="*", group=DATA, parse=ALL_BUT_DATA)
    ] = BarsOptions(),
    context: Annotated[
        tuple[str, ...], Parameter(group=DATA, consume_multiple=True, negative=())
    ] = (),
    checkpoint: Path | None = None,
    features: str = "",
    out: Path | None = None,
) -> int:
    """Hold a live run against the backtest of the same bars, and name the cause of each difference.

    Leaves with exit code 0 if live was the backtest, with 1 if anything differs.

    Parameters
    ----------
    journal
        decisions.jsonl in the folder of a run, with all its restarts.
    data
        The bars that were traded on, as the venue has them now: a file, or one for each symbol.
    context
        Files of the other series that the model reads, each named after its series.
    checkpoint
        Where the model is, if not where the journal says.
    features
        Features of your own that the checkpoint was trained with, as my_features.py:Momentum,
        separated by commas.
    out
        A CSV file of all bars, live beside the backtest.
    """
    own_features(features)  # known from here on
    if out is not None:
        require_writable(out)
    if not journal.is_file():
        raise BarsError(f"{journal} must be a journal, got no file. Name decisions.jsonl of a run.")
    files = bar_files(data)
    single = [replace(bars_options, data=files[0])]
    sources = single if len(files) == 1 else sources_of(bars_options, files)
    bars = {source.file_name: source.read() for source in sources}
    series = ContextOptions(context=context).read(bars_options, {})
    found = live.reconcile(journal, bars, checkpoint, series)
    for one in found.differences:
        console.print(f"{day(one.bar)}  {one.data}  {one.cause}: {one.what}", markup=False)
    console.print(_summary(found), markup=False)
    if out is not None:
        table = pd.DataFrame(found.steps).to_csv(index=False, lineterminator="\n")
        write_atomically(out, table.encode())
    return int(bool(found.differences))


def _summary(found: "Reconciliation") -> str:
    last = found.steps[-1]
    causes = ", ".join(f"{cause} {number}" for cause, number in found.counts.most_common())
    apart, paid = last.equity - last.backtest_equity, sum(one.money for one in found.differences)
    return (
        f"{count(len(found.steps), 'bar')}; {causes or 'no difference'}; equity "
        f"{last.equity:,.2f}, the backtest's {last.backtest_equity:,.2f}, {apart:+,.2f}, of which "
        f"by prices of fills {-paid:+,.2f}"
    )


if __name__ == "__main__":
    run(app)
