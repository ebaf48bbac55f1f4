"""Pages: what the reports share, from a template and its parts to one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly import graph_objects as go


@dataclass(frozen=True)
class Grid:
    """A table as text: its headers and rows, the first column a name. links: where each row's name leads, if anywhere."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    links: Sequence[str] = ()


def render_page(template: str, charts: Mapping[str, go.Figure], **content: Any) -> str:
    """Return the page. It loads nothing: its charts' library and data are inside."""
    pages = Environment(
        loader=PackageLoader("backtests"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["sign"] = sign_of
    return pages.get_template(template).render(
        library=Markup(plotly.offline.get_plotlyjs()),
        charts={name: Markup(_chart(name, chart)) for name, chart in charts.items()},
        **content,
    )


def sign_of(text: str) -> str:
    """Return "gain" or "loss" for a figure written with its sign, "" for nought and what is no figure."""
    return "" if not text.strip("+-0.%") else {"+": "gain", "-": "loss"}.get(text[:1], "")


def _chart(name: str, figure: go.Figure) -> str:
    page: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"chart-{name}",
        config={"responsive": True, "displayModeBar": False},
    )
    return page


def pairs_of(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as pairs of text."""
    pairs: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, Mapping):
            pairs += pairs_of(value, f"{name}: ")
        else:
            pairs.append((f"{prefix}{name}".replace("_", " "), _said(value)))
    return pairs


def _said(value: Any) -> str:
    """Return a setting as a reader who knows no Python has it."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    short = f"{value:,g}" if isinstance(value, float) else str(value).removesuffix(" 00:00:00")
    return (
        short
        if not isinstance(value, float) or float(short.replace(",", "")) == value
        else str(value)
    )
