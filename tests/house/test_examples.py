"""Every example of a docstring runs, on one set of bars and with one small checkpoint."""

import ast
import doctest
import importlib
import inspect
import re
import shutil
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import model
import strategy_plugin
from model import features, labels
from model.networks import registry
from tests.helpers import small_network  # noqa: F401 - its architecture "small" is trained here
from tests.helpers.hosts import feed, host
from tests.helpers.own_labels import FILE as OWN_LABELS
from tests.helpers.processes import ROOT

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Code as Backtrader has it in docstrings.
BLOCK = re.compile(r"^Example::\n\n((?: {4}.*\n|\n)+)", re.M)
BARS = model.sample_bars()[-700:]
# A feature of one's own, as its author would have it in a file.
MY_MOMENTUM = """
import pandas as pd

class Momentum:
    name, lookback = "momentum", 21

    def transform(self, bars):
        return pd.DataFrame({"momentum_20": bars["close"].pct_change(20)})
"""


class Documented(NamedTuple):
    """A docstring with examples, and where it stands."""

    module: str
    name: str
    text: str


def documented() -> Iterator[Documented]:
    for package in ("model", "strategy_plugin", "backtests"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef | ast.FunctionDef):
                    text = f"{ast.get_docstring(node) or ''}\n"
                    if ">>> " in text or BLOCK.search(text):
                        yield Documented(module, node.name, text)


DOCUMENTED = list(documented())
# What a reader has imported: all public names, and the libraries by their usual ones.
NAMES: dict[str, Any] = {
    "__name__": "__main__",
    **{name: getattr(one, name) for one in (model, strategy_plugin) for name in one.__all__},
    **dict(np=np, pd=pd, torch=torch, nn=nn, Tensor=Tensor, bt=bt),
    **dict(Path=Path, dataclass=dataclass, warnings=warnings),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that examples name."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("bars", "spy"):
        BARS.to_csv(folder / f"{name}.csv")
    BARS[["close"]].to_csv(folder / "closes.csv")
    (folder / "my_momentum.py").write_text(MY_MOMENTUM)
    shutil.copy(OWN_LABELS, folder / "my_labels.py")
    trained = model.fit(BARS, model.TrainConfig(architecture="small", max_epochs=2))
    trained.save(folder / "nasdaq.ckpt")
    cerebro = host(feed(BARS))
    cerebro.addstrategy(
        strategy_plugin.BiLSTMStrategy,
        checkpoint=str(folder / "nasdaq.ckpt"),
        journal=str(folder / "decisions.jsonl"),
    )
    cerebro.run()
    return folder


@pytest.mark.parametrize("docstring", DOCUMENTED, ids=lambda one: f"{one.module}.{one.name}")
def test_an_example_runs_and_gives_what_it_says(
    docstring: Documented, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    # What other tests of this process have made known by these names is not the reader's.
    monkeypatch.setattr(features.registry, "_known", {})
    monkeypatch.setattr(labels.own, "_known", {})
    cerebro = host(feed(BARS))
    names = NAMES | {"bars": BARS.copy(), "cerebro": cerebro}
    if docstring.name not in NAMES:  # its readers are in the module
        names = vars(importlib.import_module(docstring.module)) | names
    for block in BLOCK.findall(docstring.text):
        exec(textwrap.dedent(block), names)
        if not cerebro.strats:
            cerebro.addstrategy(strategy_plugin.BiLSTMStrategy, checkpoint="nasdaq.ckpt")
        assert cerebro.run()  # a wrong param of a strategy, sizer or analyzer is refused only here
    test = doctest.DocTestParser().get_doctest(
        docstring.text, names, docstring.name, docstring.module, 0
    )
    told: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=told.append)
    assert not failed, "".join(told)


def test_no_example_is_left_out() -> None:
    named = {
        name
        for package in (model, strategy_plugin)
        for name in package.__all__
        if ">>> " in (text := str(inspect.getdoc(getattr(package, name)))) or "Example::" in text
    }
    assert len(named) >= 30 and named <= {one.name for one in DOCUMENTED}
    assert not [one.name for one in DOCUMENTED if "doctest:" in one.text]  # none is skipped
