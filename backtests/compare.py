"""The command that sets runs beside each other.

python backtests/compare.py runs/* [--out PAGE.html]
"""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from backtests import reports
from model.cli import VERSION, run

WIDTH = 120  # characters of its tables
MOST_COLUMNS = 12  # of more each would be cut to shreds

app = App(version=VERSION, name="backtests/compare.py")
console = Console(highlight=False)


@app.default
def compare(
    folders: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    out: Path = Path("runs/comparison.html"),
) -> None:
    """Set runs beside each other: verdicts, intervals, settings that differ, paired tests, equity.

    Parameters
    ----------
    folders
        The folders of two runs or more of backtests/run.py, as runs/* names them; the others
        among them are left out, and said.
    out
        The page.
    """
    found: dict[Path, Path] = {}  # by where they really are
    for folder in folders:
        why = "" if reports.is_run(folder) else "no run in it"
        if folder.resolve() in found:
            why = "named twice"
        if why:
            console.print(f"left out {folder}: {why}", soft_wrap=True, markup=False)
        else:
            found[folder.resolve()] = folder
    # A file, or a narrow terminal, gets the whole width.
    wide = Console(highlight=False, width=max(console.width, WIDTH))
    for title, grid in reports.compare_runs(reports.read_runs(list(found.values())), out):
        if len(grid.headers) <= MOST_COLUMNS:
            wide.print(reports.grid_table(grid, title), soft_wrap=True)
            continue
        console.print(title)
        names = [header.replace("\n", " ") for header in grid.headers[1:]]
        for run_name, *cells in grid.rows:
            pairs = [f"{one} {cell}" for one, cell in zip(names, cells, strict=True) if cell != "-"]
            console.print(f"  {run_name}: {', '.join(pairs)}", soft_wrap=True, markup=False)
    console.print(f"written to {out}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    run(app)
