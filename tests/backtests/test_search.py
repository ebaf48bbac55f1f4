"""The command that searches and walks forward once with what it found."""

import json
import shlex
import shutil
import tomllib
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from backtests.evidence.searched import read_searched, remembered
from backtests.ledger import app as ledger_app
from backtests.reports.page import REPORT
from backtests.reports.results import FILES
from backtests.run import app as walk_app
from backtests.search import app
from backtests.synthetic.markets import market
from backtests.walk_forward.space import SearchError
from backtests.walk_forward.store import lock_folder
from model.cli import run
from model.settings_file import SETTINGS
from tests.helpers import small_network  # noqa: F401  makes the architecture known

FOLDS = ["--folds", "2", "--train-blocks", "2"]
QUICK = [*FOLDS, *shlex.split("--max-epochs 1 --jobs 1 --architecture small")]
SPACE = "[learning_rate]\nlow = 0.0001\nhigh = 0.01\nlog = true\n"


def left(application: object, *arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run(application, [str(argument) for argument in arguments])  # type: ignore[arg-type]
    return int(stopped.value.code or 0)


def bytes_of(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in (*FILES, REPORT, "search.json")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of bars and a space."""
    folder = tmp_path_factory.mktemp("searched")
    market("ar1", n_bars=400, seed=3).bars.to_csv(folder / "smoke.csv")
    (folder / "space.toml").write_text(SPACE)
    return folder


@pytest.fixture(scope="module")
def searched(place: Path) -> tuple[Path, str]:
    """The folder of a search of three trials with its walk, and what it printed."""
    out = place / "out"
    given = ["--data", place / "smoke.csv", "--space", place / "space.toml", "--out", out]
    given += ["--ledger", place / "trials", "--trials", 3, "--batch", 2]
    with redirect_stdout(StringIO()) as printed:
        assert left(app, *given, *QUICK) == 0
    return out, printed.getvalue()


def test_it_tells_each_trial_and_walks_with_the_best(searched: tuple[Path, str]) -> None:
    out, printed = searched
    summary = json.loads((out / "summary.json").read_text())
    [past] = summary["search"]["pasts"]
    assert (past["trials"], past["failed"], summary["search"]["nested"]) == (3, 0, False)
    assert summary["settings"]["training"]["learning_rate"] == past["settings"]["learning_rate"]
    assert past["default_loss"] >= past["loss"]
    assert "trial 1 of 3: validation loss 0." in printed and "trial 3 of 3: " in printed
    sentence = f"chosen by a search of 3 trials on bars up to {past['until']}, before the first"
    assert sentence in printed and sentence in (out / REPORT).read_text()
    assert past["until"] < summary["folds"][0]["last_decision"]
    choice = past["choice"]
    assert choice["stayed"] == (past["loss"] == past["default_loss"])
    assert choice["sentence"] in printed.split("chosen: ")[1].splitlines()[0]
    page = (out / REPORT).read_text()
    assert choice["sentence"] in page and all(f"<td>trial {one}</td>" in page for one in (1, 2, 3))
    assert "settings without a sea" in printed


def test_the_walk_counts_as_one_trial_with_the_size_of_the_search_beside_it(
    searched: tuple[Path, str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [line] = [json.loads(line) for line in (place / "trials").read_text().splitlines()]
    assert line["searched_trials"] == 3
    assert left(ledger_app, "--ledger", place / "trials", "--json") == 0
    [page] = json.loads(capsys.readouterr().out)
    assert page["trials"][0]["settings"].endswith(", searched in 3 trials")


def test_its_settings_make_the_walk_again_in_any_folder_and_the_search(
    searched: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = searched[0]
    assert left(app, "--config", out / "search.toml") == 0
    assert "trial 2 of 3, found: " in capsys.readouterr().out
    before = bytes_of(out)
    again = tmp_path / "again"
    for folder in (out, again):
        asked = ["--config", out / SETTINGS, "--jobs", 1, "--out", folder]
        assert left(walk_app, *asked, "--ledger", tmp_path / "trials") == 0
        found = "fold 2, found finished" in capsys.readouterr().out
        assert found == (folder == out) and bytes_of(folder) == before
    # Its own record, which no walk over the first folder takes away.
    assert tomllib.loads((again / SETTINGS).read_text())["searched"] == str(again / "search.json")
    [line] = (tmp_path / "trials").read_text().splitlines()
    # A walk with other settings over it leaves no record that is not its own.
    given = (out / SETTINGS).read_text().partition("searched = ")[0]
    (tmp_path / "other.toml").write_text(given)
    other = ["--config", tmp_path / "other.toml", "--commission", 5, "--out", tmp_path / "again"]
    assert left(walk_app, *other, "--ledger", tmp_path / "others") == 0
    assert not (tmp_path / "again" / "search.json").exists()
    assert json.loads(line)["searched_trials"] == 3
    capsys.readouterr()
    assert left(app, "--config", out / "search.toml", "--print-config") == 0
    used = tomllib.loads(capsys.readouterr().out)
    assert (used["trials"], used["batch"], used["out"]) == (3, 2, str(out))
    # The space as it was, whatever happens to the user's own file.
    assert used["space"] == str(out / "space.toml") and Path(used["space"]).read_text() == SPACE


def test_a_search_is_that_of_the_walk_it_chose_for_alone(
    searched: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_searched(searched[0] / "search.json")
    again = remembered(searched[0], found.walk_digest, {}, None)
    assert again == found and len(found.pasts[0].tried) == found.trials == 3
    # At other costs, say, another search would have been made.
    assert remembered(searched[0], "another walk", {}, None) is None
    assert remembered(tmp_path, found.walk_digest, {}, None) is None
    other = ["--config", searched[0] / SETTINGS, "--commission", 5, "--out", tmp_path / "other"]
    assert left(walk_app, *other, "--ledger", tmp_path / "trials") == 3
    refused = " ".join(capsys.readouterr().err.split())
    assert "--searched must name the search that was made for these" in refused
    assert ": commission was 1.0, is 5.0. Change neither" in refused
    assert not (tmp_path / "other" / "search.json").exists()
    # What is refused writes nothing into the folder: here a registration of one that is not new.
    shutil.copytree(searched[0], tmp_path / "late")
    (tmp_path / "late" / "search.json").unlink()
    late = ["--config", searched[0] / SETTINGS, "--register", "--out", tmp_path / "late"]
    assert left(walk_app, *late) != 0 and "register" in capsys.readouterr().err
    assert not (tmp_path / "late" / "search.json").exists()
    several = ["--data", searched[0].parent / "smoke.csv", "--architecture", "small,bilstm"]
    assert left(walk_app, *several, "--searched", searched[0] / "search.json") == 2
    assert "--searched must go without several" in capsys.readouterr().err
    (tmp_path / "search.json").write_text("{}")
    assert remembered(tmp_path, found.walk_digest, {}, None) is None  # replaced, as all there
    for folder, reason in ((tmp_path, "got Object"), (tmp_path / "none", "got No such file")):
        with pytest.raises(SearchError, match=f"search.json must be the record .*, {reason}"):
            read_searched(folder / "search.json")


def test_a_nested_search_trains_each_fold_with_its_own_settings(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / "nested"
    given = ["--data", place / "smoke.csv", "--space", place / "space.toml", "--out", out]
    given += ["--ledger", place / "nested-trials", "--trials", 2, "--batch", 2, "--nested"]
    assert left(app, *given, *QUICK) == 0
    printed = capsys.readouterr().out
    pasts = json.loads((out / "search.json").read_text())["pasts"]
    assert len(pasts) == 2 and "4 trials, anew in each fold's own past" in printed
    summary = json.loads((out / "summary.json").read_text())
    for number, past in enumerate(pasts, 1):
        # The bar at whose close the fold's first test decision falls is the last one seen.
        assert past["until"] == summary["folds"][number - 1]["first_decision"]
        assert f"fold {number}, chosen: learning rate" in printed
        header = (out / "checkpoints" / f"fold-{number:02d}.ckpt").read_bytes()
        assert json.dumps(past["settings"]["learning_rate"]).encode() in header
    assert "searches, the deflated Sharpe ratio of the settings chosen is " in printed
    again = ["--config", out / SETTINGS, "--jobs", 1, "--out", place / "nested-again"]
    assert left(walk_app, *again, "--ledger", place / "nested-again-trials") == 0
    assert bytes_of(place / "nested-again") == bytes_of(out)


TWO = ["--trials", "2"]


@pytest.mark.parametrize(
    ("flags", "space", "code", "message"),
    [
        (TWO, "[learning_rates]\nlow = 1", 3, "Did you mean 'learning_rate'?"),
        (TWO, "[learning_rate]\nlow = 2\nhigh = 1", 3, "low must lie below high, got 2.0 and 1.0"),
        (TWO, "nonsense", 3, "must be a space of settings in TOML"),
        (TWO, "[batch_size]\nchoices = [90000]", 3, "the only trial of the search failed: "),
        (["--trials", "0"], SPACE, 2, "--trials must be a whole number from 1, got 0."),
        (["--nested"], "[sequence_length]\nlow = 9\nhigh = 50", 2, "--nested must go without"),
        (["--market", "echo", *TWO], SPACE, 2, "--data and --market exclude each other"),
    ],
)
def test_what_cannot_be_searched_is_one_message(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    space: str,
    code: int,
    message: str,
) -> None:
    (tmp_path / "space.toml").write_text(space)
    given = ["--data", place / "smoke.csv", "--space", tmp_path / "space.toml"]
    given += ["--ledger", tmp_path / "trials", "--out", tmp_path / "out"]
    assert left(app, *given, *QUICK, *flags) == code
    error = " ".join(capsys.readouterr().err.split())
    assert message in error and error.count("error: ") == 1 and "Traceback" not in error


def test_a_folder_in_which_another_search_works_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock_folder(tmp_path):
        given = ["--data", place / "smoke.csv", "--out", tmp_path, *QUICK]
        assert left(app, *given) == 7
    assert "must not be used by two runs at once" in " ".join(capsys.readouterr().err.split())
