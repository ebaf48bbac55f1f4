"""Commands that are called in this process."""

from typing import Any

import pytest
from cyclopts import App

from model.cli import run

KEYS = ("a-key-of-tests", "a-secret-of-tests")  # of the exchanges in a box


def ended(app: App, capsys: Any, *words: object) -> tuple[int, str, str]:
    """How a command ended, and what it said on stdout and stderr."""
    with pytest.raises(SystemExit) as left:
        run(app, [str(word) for word in words])
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err
