"""What a notebook shows: objects as small tables, and how far work has come."""

import sys
from collections.abc import Callable
from html import escape

import pandas as pd

Show = Callable[[float, str], None]  # how much is done, a share, and words on it


def card(title: str, sentence: str, *tables: pd.DataFrame) -> str:
    """Return an object as a notebook shows it: a title, a sentence and tables."""
    shown = [
        # A wide one scrolls by itself: else the page would.
        '<div style="overflow-x: auto">'
        f"{table.to_html(border=0, float_format='{:.4g}'.format, na_rep='-')}</div>"
        for table in tables
    ]
    return "\n".join([f"<b>{escape(title)}</b>", f"<p>{escape(sentence)}</p>", *shown])


def progress_bar() -> Show | None:
    """Return what shows a bar in the output of a notebook's cell; None where there is no notebook.

    Whoever works prints nothing elsewhere: there a caller has a terminal, or a log, of its own.
    """
    # Loaded by the notebook itself, if there is one; that of a terminal shows no bars.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    handle = display(HTML("<progress></progress>"), display_id=True)

    def show(share: float, text: str) -> None:
        bar = f'<progress value="{share:.4f}" max="1"></progress>'
        handle.update(HTML(f"{bar} {escape(text)}"))

    return show
