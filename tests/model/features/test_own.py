"""Features of one's own: the doors by which they come in, how they are called, and bad ones."""

import re
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model import supplied
from model.errors import FeatureError
from model.features import registry
from model.features.own import known_feature
from model.features.registry import own_features, register_feature
from model.features.stability import require_stable
from model.features.table import FEATURE_NAMES, FeatureEngineer, arrays_of
from model.training.config import TrainConfig
from model.training.data import prepare
from tests.helpers import own_features as given
from tests.helpers.makers import random_bars
from tests.helpers.own_features import Momentum, RowByRow, Wave

OURS = FeatureEngineer()


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the features of another."""
    monkeypatch.setattr(registry, "_known", {})
    registry._defined.cache_clear()
    yield
    registry._defined.cache_clear()


def engineer(*features: object, only: bool = False) -> FeatureEngineer:
    return FeatureEngineer([known_feature(one) for one in features], only=only)


def test_columns_of_ones_own_stand_behind_ours_and_ours_keep_their_bits(bars) -> None:
    both = engineer(Momentum(), RowByRow())
    rows = both.transform(bars)
    assert both.names == (*FEATURE_NAMES, "momentum", "volume_score", "place")
    assert both.groups["own momentum"] == slice(86, 88) and both.groups["own row_by_row"] == slice(
        88, 89
    )
    assert (rows.iloc[:, :86].to_numpy() == OURS.transform(bars).to_numpy()).all()
    expected = bars["close"].pct_change(20).iloc[100:]
    assert np.allclose(rows["momentum"], expected, rtol=1e-12)


def test_a_longer_lookback_costs_rows_and_changes_no_bit_of_ours(bars) -> None:
    longer = engineer(Wave())
    rows = longer.transform(bars)
    assert longer.lookback == 160 and len(rows) == len(bars) - 159
    assert (rows.iloc[:, :86] == OURS.transform(bars).iloc[59:]).all(axis=None)


def test_only_ones_own_need_no_more_bars_than_they_say(bars) -> None:
    alone = engineer(Momentum(5), only=True)
    assert alone.names == ("momentum", "volume_score") and alone.lookback == 6
    assert alone.transform(bars.iloc[:6]).shape == (1, 2)


def test_a_row_is_the_same_alone_and_among_others(bars) -> None:
    both = engineer(Momentum(), Wave(), RowByRow())
    values, stamps = arrays_of(bars)
    rows = both.rows(values, stamps)
    for last in (170, 250, 399):
        window = slice(last - both.lookback + 1, last + 1)
        alone = both.rows(values[window], stamps[window])[0]
        assert (alone[:86] == rows[last - both.lookback + 1, :86]).all()
        assert np.abs(alone - rows[last - both.lookback + 1]).max() < 1e-10
        assert alone[-1] == rows[last - both.lookback + 1, -1]  # exact: to the last bit


def test_a_feature_is_called_once_a_chunk_and_row_by_row_where_it_is_exact(bars) -> None:
    calls: list[int] = []

    class Counted(Momentum):
        name = "counted"

        def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
            calls.append(len(bars))
            return super().transform(bars)

    class Exact(Counted):
        exact = True

    several, single = engineer(Counted(), only=True), engineer(Exact(), only=True)
    calls.clear()
    several.transform(bars)
    single.transform(bars.iloc[:25])
    assert calls == [400, 21, 21, 21, 21, 21]


@pytest.mark.parametrize(
    ("text", "name", "bars"),
    [
        (f"{given.FILE}:Momentum", "momentum", 20),
        (f"{given.FILE}:momentum_5", "momentum", 5),
        ("tests.helpers.own_features:Momentum", "momentum", 20),
    ],
)
def test_a_feature_is_named_by_file_or_module(text: str, name: str, bars: int) -> None:
    [found] = own_features(text)
    assert found.record.name == name and found.record.parameters == {"bars": bars}
    assert own_features(text) == own_features(name) == [found]


def test_several_are_separated_by_commas_and_registered_ones_are_named() -> None:
    register_feature(Momentum)
    names = [one.record.name for one in own_features(f"momentum, {given.FILE}:Wave")]
    assert names == ["momentum", "wave"]
    assert TrainConfig(features="momentum,wave").lookback == 160


def test_an_installed_package_offers_features_by_entry_points(monkeypatch) -> None:
    def installed(group: str, name: str) -> list[EntryPoint]:
        points = [
            EntryPoint("momentum", "tests.helpers.own_features:Momentum", supplied.FEATURE.group)
        ]
        return [point for point in points if (point.group, point.name) == (group, name)]

    monkeypatch.setattr(supplied, "entry_points", installed)
    assert own_features("momentum")[0].record.parameters == {"bars": 20}
    with pytest.raises(FeatureError, match="must name known ones, got 'momentun'. Did you mean"):
        own_features("momentun")


def test_what_an_installed_package_offers_but_is_none_is_said(monkeypatch) -> None:
    offer = EntryPoint("broken", "tests.helpers.own_features:FILE", supplied.FEATURE.group)
    monkeypatch.setattr(supplied, "entry_points", lambda group, name: [offer])
    with pytest.raises(FeatureError, match="of an installed package: .* Mend that package"):
        own_features("broken")


def test_the_same_feature_may_come_twice_and_another_of_its_name_may_not() -> None:
    register_feature(Momentum)
    register_feature(Momentum())
    with pytest.raises(
        FeatureError,
        match=r"must be free, got 'momentum', which is momentum\(bars="
        r"20\) already, with the parameters \{'bars': 20\} and not \{'bars': 5\}",
    ):
        register_feature(Momentum(5))


def test_with_bars_a_feature_is_tried_before_it_is_known(bars) -> None:
    class Ahead(Momentum):
        name = "ahead"

        def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
            return super().transform(bars).shift(-1)

    with pytest.raises(FeatureError, match="looks 1 bar ahead"):
        register_feature(Ahead, bars)
    with pytest.raises(FeatureError, match="must name known ones"):
        own_features("ahead")
    register_feature(Momentum, bars)


def changed(**attributes: object) -> object:
    """Momentum with something else in the place of what it has."""
    return type("Changed", (Momentum,), {"__module__": __name__, **attributes})


def giving(table: Callable[[pd.DataFrame], object]) -> object:
    return changed(transform=lambda self, bars: table(bars))


def wide(*names: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda bars: pd.DataFrame(np.ones((len(bars), len(names))), bars.index, list(names))


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (changed(name="my momentum"), "`name` must be a plain word, got 'my momentum'"),
        (changed(lookback=0), "`lookback` must be a whole number from 1 to 10000, got 0"),
        (changed(lookback=2.0), "`lookback` must be a whole number from 1 to 10000, got 2.0"),
        (changed(exact="yes"), "`exact` must be True or False, got 'yes'"),
        (changed(transform=3), "`transform` must be a method"),
        (
            changed(lookback=property(lambda self: self.bars / 0)),
            "its `name` and `lookback` must be there from the start, got ZeroDivisionError",
        ),
        (object, "object cannot be a feature: `name` must be a plain word, got None; `lookback`"),
        (
            changed(__init__=lambda self, bars: None),
            "Changed must be made without arguments, got TypeError",
        ),
        (
            changed(__init__=lambda self: setattr(self, "bars", [3]), lookback=3),
            "`bars` of the feature 'momentum' must be a number or a text",
        ),
        (
            changed(__init__=lambda self: setattr(self, "bars", np.nan), lookback=3),
            "`bars` of the feature 'momentum' must be a number or a text",
        ),
        (giving(lambda bars: bars["close"]), "must return a DataFrame, got Series"),
        (giving(lambda bars: bars.iloc[1:]), "must return a row for each bar, got "),
        (giving(lambda bars: bars.reset_index(drop=True)), "its rows on the bars' own index"),
        (giving(lambda bars: bars[::-1]), "its rows on the bars' own index"),
        (giving(lambda bars: bars.astype(str)), "must return numbers, got others in 'open'"),
        (giving(lambda bars: bars[[]]), "must have from 1 to 512 columns, got 0"),
        (giving(wide("a", "b", "a")), "columns of different names, got a more than once"),
        (giving(wide("a", 3)), "columns named by texts of up to 100 signs, got 3"),
        (giving(wide("a", "rsi_14")), "must not be called like one of our 86, got rsi_14"),
        (
            giving(wide("a", "spy:a")),
            "without a colon, which those of other series have, got 'spy:a'",
        ),
        (giving(lambda bars: bars["clsoe"]), "for 36 made-up bars of an hour, with which its colu"),
    ],
)
def test_a_bad_feature_is_one_message_with_what_to_do(feature: object, words: str) -> None:
    with pytest.raises(FeatureError, match=re.escape(words)) as told:
        register_feature(feature)  # type: ignore[arg-type]
    assert re.search(r"(Mend|Rename|Return|Choose|Give|Make it|Put it)[^.]*\.", str(told.value))
    assert "\n" not in str(told.value)


def test_a_class_without_a_source_is_refused() -> None:
    kind = type("Nowhere", (Momentum,), {"__module__": "nowhere"})
    with pytest.raises(FeatureError, match="must be readable.*Put it in a file of its own"):
        register_feature(kind)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import no_such_module\n", "'no_such_module', in line 1. Install no_such_module, or mend"),
        ("from beside import f\n", "in line 1. It lies beside the file: start with PYTHONPATH="),
        ("x = 1\ny = x +\n", "SyntaxError: invalid syntax (bad.py, line 2), in line 2. Mend it."),
        ("\n\nraise KeyError('who')\n", "KeyError: 'who', in line 3. Mend it."),
        ("raise SystemExit(3)\n", "SystemExit: 3, in line 1. Mend it."),
        ("class Momentun:\n    def transform(self): ...\n", "bad.py:Momentun: Momentun"),
        ("x = 3\n", "It defines no class with a transform: write one."),
    ],
)
def test_a_file_that_cannot_be_used_is_one_message(
    tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "bad.py").write_text(content)
    (tmp_path / "beside.py").write_text("")
    with pytest.raises(FeatureError, match=re.escape(words)):
        own_features(f"{tmp_path / 'bad.py'}:Momentum")


def test_the_line_at_which_a_transform_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "class Failing:\n    name, lookback = 'failing', 1\n\n"
        "    def transform(self, bars):\n        return bars[['clsoe']]\n"
    )
    with pytest.raises(
        FeatureError, match=r"got KeyError: .*, in line 5 of failing\.py, for 16 ma"
    ):
        own_features(f"{tmp_path / 'failing.py'}:Failing")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("absent.py:Momentum", "must name a file that can be read, got absent.py: No such file"),
        ("no.such:Momentum", "'no'. Give a file as my_features.py:Name, or a module that is insta"),
        ("momentum", "must name known ones, got 'momentum'. Give a file as my_features.py:Mome"),
    ],
)
def test_what_names_no_feature_is_one_message(text: str, words: str) -> None:
    with pytest.raises(FeatureError, match=re.escape(words)):
        own_features(text)


def test_a_file_that_is_changed_is_another_module(tmp_path: Path) -> None:
    file, text = tmp_path / "mine.py", Path(given.FILE).read_text()
    file.write_text(text)
    own_features(f"{file}:Momentum")
    file.write_text(text + "# changed\n")
    with pytest.raises(FeatureError, match="of another source. Give each instance a name of"):
        own_features(f"{file}:Momentum")


def test_without_ours_and_without_others_there_is_nothing_to_learn_from(bars) -> None:
    told = "`features` must name some where `only` leaves ours out, got none. Name some, or join"
    with pytest.raises(FeatureError, match=told):
        prepare(bars, TrainConfig(only=True))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"features": "momentum,momentum"}, "must not have a name in common, got momentum more"),
        ({"features": "momentum,twin"}, "must not have a column in common, got momentum, volume"),
        ({"features": "momentun"}, "Did you mean 'momentum'?"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, words: str) -> None:
    register_feature(Momentum)
    register_feature(changed(name="twin"))  # type: ignore[arg-type]
    with pytest.raises(FeatureError, match=re.escape(words)):
        TrainConfig(**settings)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_value_that_is_no_number_is_refused_before_training(value: float) -> None:
    bars = random_bars(400)

    def holed(bars: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"x": bars["open"].where(bars.index.day != 7, value)})

    register_feature(giving(holed))  # type: ignore[arg-type]
    with pytest.raises(FeatureError) as told:
        prepare(bars, TrainConfig(features="momentum"))
    assert "got others in x, 9 values in all, the first at 2020-05-07. Let its" in str(told.value)


def test_columns_that_change_with_the_bars_are_refused(bars) -> None:
    def shaped(bars: pd.DataFrame) -> pd.DataFrame:
        return bars[["open"]].rename(columns={"open": f"x{len(bars) % 2}"})

    known = engineer(giving(shaped), only=True)
    with pytest.raises(FeatureError, match="must give the same columns for any bars, x0, got x1"):
        known.transform(bars.iloc[:31])


def test_training_refuses_what_looks_ahead_or_too_far_back(bars) -> None:
    register_feature(changed(name="short", lookback=10))  # type: ignore[arg-type]
    with pytest.raises(FeatureError, match="Raise `lookback` to 21."):
        prepare(bars, TrainConfig(features="short"))


def test_what_a_module_imports_is_not_offered_and_one_that_ends_the_program_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "offers.py").write_text("from pandas import DataFrame, Series\n")
    with pytest.raises(FeatureError, match="It defines no class with a transform: write one."):
        own_features(f"{tmp_path}/offers.py:Momentum")
    (tmp_path / "leaves_at_once.py").write_text("import sys\n\nsys.exit(0)\n")
    (tmp_path / "faulty_helper.py").write_text("x = 1\ny = = 2\n")
    (tmp_path / "uses_helper.py").write_text("import faulty_helper\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FeatureError, match="got SystemExit: 0, in line 3. Mend it."):
        own_features("leaves_at_once:Momentum")
    with pytest.raises(FeatureError, match="got SyntaxError: .*, in line 2 of faulty_helper.py"):
        own_features(f"{tmp_path}/uses_helper.py:Momentum")


SLOTTED = """
from dataclasses import dataclass

import pandas as pd


@dataclass(slots=True)
class Change:
    bars: int
    name: str = "change"
    lookback: int = 60

    def transform(self, bars):
        return pd.DataFrame({"x": bars["close"].pct_change(self.bars)})


class Hidden(Change.__base__):
    name, lookback = "hidden", 60

    def __init__(self, bars):
        self._bars = bars

    def transform(self, bars):
        return pd.DataFrame({"x": bars["close"].pct_change(self._bars)})


fast, slow, hidden, other = Change(5), Change(50), Hidden(5), Hidden(50)
"""


def test_instances_that_hold_other_things_are_not_taken_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "of.two.dots.py"  # whose name is no name of a module
    path.write_text(SLOTTED)
    [fast] = own_features(f"{path}:fast")
    assert fast.record.parameters == {"bars": 5}
    with pytest.raises(FeatureError, match=r"is change\(bars=5\) already, with the parameters"):
        own_features(f"{path}:slow")
    own_features(f"{path}:hidden")
    with pytest.raises(FeatureError, match=r"is hidden\(\) already, with other values"):
        own_features(f"{path}:other")
    require_stable([fast], {"": random_bars(200)})  # a fresh process loads it, too


def test_a_transform_that_leaves_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "leaving.py"
    path.write_text(
        SLOTTED.replace("        return", "        raise SystemExit(3)\n        return")
    )
    with pytest.raises(FeatureError, match="got SystemExit: 3, in line 14 of leaving.py"):
        own_features(f"{path}:fast")
