"""The ledger of trials: every configuration that was judged on these bars, so that luck can be told from skill."""
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from platformdirs import user_data_path

from model.bars import digest_bars
from model.files import require_writable, write_atomically


class Ledger:
    """One line of JSON per trial, found by its key; what was tried before is counted once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def others(self, *keys: str) -> list[float]:
        """Return the Sharpe ratios per bar of all trials but those with these keys."""
        return [entry["sharpe"] for entry in self._entries() if entry["key"] not in keys]

    def enter(self, key: str, sharpe: float, what: Mapping[str, Any]) -> None:
        """Add a trial, unless it is there; safe against other runs that do the same."""
        require_writable(self.path)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            entries = self._entries()
            if all(entry["key"] != key for entry in entries):
                lines = [json.dumps(entry) for entry in [*entries, {"key": key, "sharpe": sharpe, **what}]]
                write_atomically(self.path, ("\n".join(lines) + "\n").encode())

    def _entries(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        try:
            return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise ValueError(f"the ledger {self.path} must hold one line of JSON per trial, got {error}. "
                             "Repair it, or name another with --ledger.") from error


def default_ledger(bars: pd.DataFrame) -> Path:
    """Return where the trials on these bars are kept: in the user's data folder, by the bars' digest."""
    return user_data_path("backtrader-bilstm") / "trials" / f"{digest_bars(bars)[:16]}.jsonl"
