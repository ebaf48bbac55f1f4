"""Errors: one tree with an exit code each, and messages spelled for whoever reads them."""

import pickle
import re

import pytest

from model import errors
from model.errors import BarsError, Interrupted, Setting, as_flags


def drawn() -> dict[str, tuple[str, str]]:
    """Return the parent and the exit code that the docstring of model.errors draws, by class."""
    tree: dict[str, tuple[str, str]] = {}
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"((?: {4})*)([A-Z]\w+)(?: {2,}|$)([0-9n+]*)", line)
        if found:
            parents = [*parents[: len(found[1]) // 4], found[2]]
            tree[found[2]] = (parents[-2] if len(parents) > 1 else "", found[3])
    return {name: place for name, place in tree.items() if place[0]}


def test_the_tree_draws_every_error_under_its_parent_with_its_exit_code() -> None:
    ours = [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type)
        and issubclass(thing, Exception)
        and thing.__module__ == errors.__name__
    ]
    assert len(ours) > 8
    codes = {Interrupted: "128+n"}  # which each of them has of its signal
    assert drawn() == {
        error.__name__: (
            error.__bases__[0].__name__,
            codes.get(error, str(getattr(error, "exit_code", ""))),
        )
        for error in ours
    }


SPELT = [
    (Setting("ticker", "AAA"), "ticker='AAA'", "--ticker AAA"),
    (
        Setting("date_format", "%d/%m/%Y %H:%M"),
        "date_format='%d/%m/%Y %H:%M'",
        "--date-format '%d/%m/%Y %H:%M'",
    ),
    (Setting("adjust", True), "adjust=True", "--adjust"),
    (Setting("batch_size"), "`batch_size`", "--batch-size"),
    (Setting("columns", {"Price": "close"}), "columns={'Price': 'close'}", "--columns.Price close"),
    (
        Setting("columns", {"My Price": "close"}),
        "columns={'My Price': 'close'}",
        "'--columns.My Price' close",
    ),
    (
        Setting("columns", {"4. x": "close"}),
        "columns={'4. x': 'close'}",
        """--columns '{"4. x": "close"}'""",
    ),
]


@pytest.mark.parametrize("setting, python, flag", SPELT)
def test_a_setting_is_spelled_for_python_or_as_a_flag(
    setting: Setting, python: str, flag: str
) -> None:
    error = BarsError("pass ", setting, ".")
    assert (str(error), as_flags(error.args)) == (f"pass {python}.", f"pass {flag}.")


def test_an_error_keeps_its_settings_on_the_way_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(BarsError("pass ", Setting("ticker", "AAA"), ".")))
    assert (type(error), as_flags(error.args)) == (BarsError, "pass --ticker AAA.")
