"""The search that chose a run's settings, as tables of its page."""

from math import inf

from backtests.evidence.searched import Searched, SearchedTrial
from backtests.evidence.verdict import p_words
from backtests.reports.page import Grid
from backtests.reports.terminal import shown

NO_GRID = Grid([], [])


def searches_grid(searched: Searched | None) -> Grid:
    """Return a row for each past that was searched, with what was chosen; none without a search."""
    if searched is None:
        return NO_GRID
    headers = ["", "bars up to", "trials", "given up", "failed", "log loss,\nlowest"]
    headers += [
        "without\na search",
        "Hansen's p",
        "chosen",
        "deflated\nSharpe",
        "probability of\noverfitting",
    ]
    return Grid(
        headers,
        [
            [
                f"fold {number}" if searched.nested else "the search",
                past.until,
                f"{past.trials:,}",
                f"{past.given_up:,}",
                f"{past.failed:,}",
                shown(past.choice.lowest, ".4f"),
                shown(past.default_loss, ".4f"),
                "-" if past.choice.p is None else p_words(past.choice.p).removeprefix("= "),
                "without a search" if past.choice.stayed else "the best trial",
                shown(past.deflated, ".3f"),
                shown(past.overfitting.probability, ".3f"),
            ]
            for number, past in enumerate(searched.pasts, 1)
        ],
    )


def trials_grid(searched: Searched | None) -> Grid:
    """Return a row for each trial with its settings, the lowest log loss of each past first."""
    if searched is None:
        return NO_GRID
    names = list(searched.pasts[0].settings)
    headers = ["", "log loss", "", *(name.replace("_", " ") for name in names)]
    rows = [
        [
            f"{f'fold {number}, ' if searched.nested else ''}trial {trial}",
            shown(one.loss, ".4f"),
            "chosen" if one.settings == past.settings else one.outcome,
            *(_plain(one, name) for name in names),
        ]
        for number, past in enumerate(searched.pasts, 1)
        for trial, one in sorted(
            enumerate(past.tried, 1),
            key=lambda numbered: inf if numbered[1].loss is None else numbered[1].loss,
        )
    ]
    return Grid(headers, rows)


def _plain(one: SearchedTrial, name: str) -> str:
    value = one.settings[name]
    return format(value, ".4g") if isinstance(value, float) else str(value)
