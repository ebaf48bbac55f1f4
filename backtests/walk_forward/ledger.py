"""The ledger of trials: every configuration that was judged on these bars.

So that luck can be told from skill.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from platformdirs import user_data_path

from model.bars.read import digest_bars
from model.files import locked, require_writable, write_atomically


class Ledger:
    """One line of JSON per trial, found by its key; what was tried before is counted once.

    Trials on other bars may stand in the same file and do not count; one that does not say on which
    bars it was counts on all. data: the digest of the bars.
    """

    def __init__(self, path: Path, data: str) -> None:
        require_writable(path)  # not only when all is trained
        self.path, self.data = path, data

    def others(self, *keys: str) -> list[float]:
        """Return the Sharpe ratios per bar of all trials on these bars but those with these keys."""
        return [
            entry["sharpe"]
            for entry in self._entries()
            if entry.get("data", self.data) == self.data and entry["key"] not in keys
        ]

    def enter(self, key: str, sharpe: float, what: Mapping[str, Any]) -> None:
        """Add a trial, unless it is there; safe against other runs that do the same.

        what: is kept with it, for readers.
        """
        require_writable(self.path)
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            entries = self._entries()
            if all(entry["key"] != key for entry in entries):
                lines = [
                    json.dumps(entry)
                    for entry in [
                        *entries,
                        {"key": key, "data": self.data, "sharpe": sharpe, **what},
                    ]
                ]
                write_atomically(self.path, ("\n".join(lines) + "\n").encode())

    def _entries(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        try:
            return [
                self._entry(line) for line in self.path.read_text(encoding="utf-8").splitlines()
            ]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"the ledger {self.path} must hold one line of JSON per trial, with its key and sharpe, got {error}. "
                "Repair it, or name another with --ledger."
            ) from error

    def _entry(self, line: str) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(line)
        if not math.isfinite(sharpe := float(entry["sharpe"])):
            raise ValueError(f"a sharpe of {sharpe}")
        return entry | {"key": entry["key"], "sharpe": sharpe}


def ledger_of(bars: pd.DataFrame, path: Path | None = None) -> Ledger:
    """Return the ledger of the trials on these bars.

    By default one per digest of bars, in the user's data folder.
    """
    digest = digest_bars(bars)
    return Ledger(
        path or user_data_path("backtrader-bilstm") / "trials" / f"{digest[:16]}.jsonl", digest
    )
