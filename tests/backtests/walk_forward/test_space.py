"""The space of a search: what a file of it may say."""

from pathlib import Path

import pytest

from backtests.walk_forward.space import DEFAULT, Range, SearchError, Space, read_space
from model.training.config import TrainConfig

CONFIG = TrainConfig()


def space_of(tmp_path: Path, text: str) -> Space:
    path = tmp_path / "space.toml"
    path.write_text(text)
    return read_space(path, CONFIG)


def test_a_space_is_read_in_the_types_of_the_settings(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        "[learning_rate]\nlow = 0.001\nhigh = 0.01\nlog = true\n"
        "[label_softness]\nchoices = [0, 1.5]\n"
        "[sequence_length]\nlow = 20\nhigh = 50\nstep = 10\n",
    )
    assert space.ranges["learning_rate"] == Range(low=0.001, high=0.01, log=True)
    assert [type(value) for value in space.ranges["label_softness"].choices] == [float, float]
    corners = [config.sequence_length for config in space.corners(CONFIG)]
    assert corners == [20, 50]


@pytest.mark.parametrize(
    ("config", "within"),
    [
        (CONFIG, True),
        (TrainConfig(learning_rate=1e-5), False),
        (TrainConfig(batch_size=63), False),
        (TrainConfig(sequence_length=7), True),  # which is not searched for
    ],
)
def test_what_lies_within_a_space(config: TrainConfig, within: bool) -> None:
    assert (config in DEFAULT) is within


@pytest.mark.parametrize(("low", "within"), [(20, True), (22, False)])
def test_what_no_step_meets_lies_outside(low: int, within: bool) -> None:
    space = Space({"sequence_length": Range(low=low, high=60, step=10)})
    assert (CONFIG in space) is within


def test_the_mark_that_some_editors_put_first_is_passed_over(tmp_path: Path) -> None:
    assert "batch_size" in space_of(tmp_path, "\ufeff[batch_size]\nchoices = [32]").ranges


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[learning_rat]\nlow = 1", "learning_rat, which is no setting. Did you mean 'learning_r"),
        ("[seed]\nlow = 1\nhigh = 9", "seed, which no search may change"),
        ("[horizon]\nchoices = [1]", "horizon, which no search may change"),
        ('[stop_loss]\nchoices = ["2%"]', "stop_loss, which no search may change"),
        (
            "[learning_rate]\nlow = 0.1\nhigh = 0.1",
            "low must lie below high, got 0.1 and 0.1",
        ),
        ("[learning_rate]\nlow = 0.1", "it must have low and high, got no high"),
        ("[batch_size]\nchoices = []", "must have low and high, or choices that are not empty"),
        ("[batch_size]\nlow = 1\nhigh = 2\nchoices = [3]", "must have low and high, or choices"),
        ("[batch_size]\nlow = 1.5\nhigh = 9", "batch_size: it must be a whole number, got 1.5"),
        (
            "[batch_size]\nlow = 2\nhigh = 5\nstep = 9",
            "step must be from 1 to high less low",
        ),
        ("[averaging]\nlow = 0.5\nhigh = 2", "`averaging` must be a number from 0 up to but not i"),
        (
            "[weight_decay]\nlow = 0\nhigh = 1\nlog = true",
            "log must go without step, and from",
        ),
        ("[architecture]\nlow = 1\nhigh = 2", "it is no number, and must have choices"),
        ('[architecture]\nchoices = ["lstm"]', "architecture"),
        ("[batch_size]\nlows = 1", "batch_size: it has no `lows`."),
        ("[batch_size]\nlow = 2\nhigh = 5\nstep = 1.5", "step must be a whole number, got a numb"),
        ("[batch_size]\nchoices = 3", "batch_size: choices must be a list, got a whole number."),
        ('[batch_size]\nlow = "2"\nhigh = 3', "batch_size: low must be a number, got a text."),
        ("[batch_size]\nchoices = [[2]]", "choices[0] must be a number, a text, true or false, g"),
        ("[batch_size]\nchoices = [32, 64, 32]", "choices must differ, got [32, 64, 32]"),
        (
            "[learning_rate]\nlow = 0.1\nhigh = 0.1000000000000011",
            "low and high must differ by a millionth",
        ),
        ("[learning_rate]\nlow = nan\nhigh = 1", "low must lie below high, got nan and 1.0"),
        ("batch_size = 3", "it has no table, as [learning_rate]; give settings with --config"),
        (
            "learning_rate = 3\n[batch_size]\nchoices = [1]",
            "learning_rate: it must be a table with low and high, or choices, got 3",
        ),
        ("[weight_decay]\nlow = 1\nhigh = 9\nstep = 2", "step must be left out: it is for whole"),
        ("", "it names no setting"),
        ("[batch_size", "must be a space of settings in TOML: Expected ']'"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SearchError) as refused:
        space_of(tmp_path, text)
    assert message in str(refused.value) and f"{tmp_path / 'space.toml'} must be" in str(
        refused.value
    )


def test_all_faults_of_a_space_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(SearchError) as refused:
        space_of(tmp_path, "[seed]\nlow = 1\n[batch_size]\nchoices = [0, -1]\n")
    *lines, known = str(refused.value).splitlines()
    assert [line[:14] for line in lines[1:]] == ["- seed, which ", *["- batch_size: "] * 2]
    # Once, however many names of a foreign file are none.
    assert known.startswith("What can be searched: ") and "learning_rate" in known


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("[batch_size]\nchoices = [32, 64]\n[only]\nchoices = [true, false]", 4),
        ("[batch_size]\nlow = 2\nhigh = 9\nstep = 3", 3),
        ("[batch_size]\nlow = 2\nhigh = 9\nlog = true", 8),
        ("[batch_size]\nchoices = [32]\n[label_softness]\nlow = 0\nhigh = 1", None),
    ],
)
def test_what_a_space_holds_is_counted_and_numbered(
    tmp_path: Path, text: str, size: int | None
) -> None:
    space = space_of(tmp_path, text)
    assert space.size == size
    if size:
        assert len({tuple(space.numbered(one).values()) for one in range(size)}) == size
