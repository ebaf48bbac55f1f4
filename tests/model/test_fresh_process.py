"""A user's object in a fresh process: how it is made there, what is shown, and what goes wrong."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.errors import FeatureError
from model.fresh_process import Beginning, Window, beginning_of
from model.supplied import FEATURE, named_in_module
from tests.helpers.makers import random_bars

BARS = random_bars(30, seed=1)
WINDOWS = [Window(0, 0, 5), Window(0, 3, 9)]
SOURCE = """
import os
import sys

import pandas as pd

print("loaded")


class Own:
    name = "own"

    def transform(self, bars):
        print("called")
        bars["close"] += 1
        if len(bars) > 5:
            {line}
        table = pd.DataFrame({{"x": bars["close"]}})
        table.attrs["what cannot be sent"] = lambda: 0
        return table
"""


def own(folder: Path, line: str = "pass") -> Beginning:
    path = folder / "own.file.py"
    path.write_text(SOURCE.format(line=line))
    module, _ = named_in_module(f"{path}:Own", FEATURE)
    return beginning_of(module.Own, "own", FEATURE)


def test_each_window_is_shown_by_itself_and_in_order(tmp_path: Path) -> None:
    replies = own(tmp_path).replies([BARS], WINDOWS)
    for window in WINDOWS:
        # Windows overlap: what the first did to its bars the second does not see.
        expected = BARS["close"].iloc[window.start : window.stop] + 1
        assert replies.transform(BARS)["x"].to_numpy().tolist() == expected.tolist()


def test_the_file_is_taken_as_it_was_when_it_was_loaded(tmp_path: Path) -> None:
    beginning = own(tmp_path)
    (tmp_path / "own.file.py").write_text("edited while a run goes on\n")
    assert len(beginning.replies([BARS], WINDOWS).transform(BARS)) == 5


def test_places_of_modules_that_are_no_texts_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    assert len(own(tmp_path).replies([BARS], WINDOWS).transform(BARS)) == 5


def test_modules_that_are_loaded_when_they_are_used_stay_so(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("sched")
    assert spec is not None and spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert own(tmp_path).replies([BARS], WINDOWS)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "raise KeyError('no connection')",
            r"a row for every bar in a fresh process, too, got KeyError: 'no connection', in line "
            r"\d\d of own.file.py, for the bars that end at 2020-01-09 00:00:00. Mend its tra",
        ),
        ("sys.exit(0)", "too, got SystemExit: 0, in line \\d\\d of own.file.py"),
        ("return 7", "too, got int in the place of a DataFrame"),
        ("os._exit(0)", "must be one that a fresh process can make, .* got exit code 0. Name"),
        ("os._exit(4)", "must be one that a fresh process can make, .* got exit code 4. Name"),
    ],
)
def test_what_fails_there_is_told_with_its_place(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(FeatureError, match=words):
        own(tmp_path, line).replies([BARS], WINDOWS)


@pytest.mark.parametrize("line", ["raise MemoryError", "os.kill(os.getpid(), 9)"])
def test_a_lack_of_memory_is_no_fault_of_the_feature(tmp_path: Path, line: str) -> None:
    with pytest.raises(MemoryError):
        own(tmp_path, line).replies([BARS], WINDOWS)


def test_what_a_notebook_defines_comes_with_all_that_it_needs() -> None:
    scale = np.arange(1.0, 4.0)

    class Scaled:
        name = "scaled"

        def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"x": bars["close"] * scale[1]})

    table = beginning_of(Scaled, "scaled", FEATURE).replies([BARS], WINDOWS).transform(BARS)
    assert table["x"].tolist() == (2 * BARS["close"].iloc[:5]).tolist()
