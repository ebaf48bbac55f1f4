"""Importing the plugin costs next to nothing, and its names are there when they are used."""
import subprocess
import sys

import pytest

import strategy_plugin

SLOW = ["torch", "backtrader", "pandas", "sklearn", "arch", "matplotlib", "model.training"]


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_nothing_slow() -> None:
    assert not loaded_after("import strategy_plugin") & set(SLOW)


def test_using_the_strategy_loads_no_training() -> None:
    loaded = loaded_after("from strategy_plugin import BiLSTMStrategy")
    assert not loaded & {"model.training", "model.windows", "model.sample", "arch", "sklearn", "matplotlib"}


@pytest.mark.parametrize("name", strategy_plugin.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(strategy_plugin, name).__module__.startswith("strategy_plugin.") and name in dir(strategy_plugin)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'strategy_plugin' has no attribute 'Strategy'"):
        strategy_plugin.Strategy  # type: ignore[attr-defined]
