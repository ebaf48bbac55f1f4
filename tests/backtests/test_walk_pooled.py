"""One network for a universe, by the command: its files, its resuming, what it refuses."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout
from io import StringIO

import pandas as pd
import pytest
from distributed import LocalCluster

from backtests.ledger import app as ledger_app
from backtests.reports.page import REPORT
from backtests.reports.pooled import BOOK_FILES, POOLED_FILES
from backtests.run import app
from backtests.walk import describe_replaced
from backtests.walk_forward import folds as walk_forward
from model.checkpoint.checkpoint import Checkpoint
from model.cli import run
from model.errors import TrainingDiverged
from model.training.config import TrainConfig
from tests.helpers.panels import random_universe
from tests.helpers.processes import environment

QUICK = shlex.split(
    "--pooled --folds 2 --train-blocks 2 --max-epochs 1 --jobs 1 --fewest-instruments 3"
)


def walk(*arguments):
    """The exit code of the command in this process, and what it printed."""
    with redirect_stdout(StringIO()) as printed, pytest.raises(SystemExit) as left:
        run(app, [str(argument) for argument in arguments])
    return left.value.code, " ".join(printed.getvalue().split())


def contents(folder):
    """What a reader finds: all files but the run's own notes, and its flags with their paths."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and ".state" not in str(path)
        and path.name not in (".lock", "settings.toml")
    }


@pytest.fixture(scope="module", autouse=True)
def ledgers(tmp_path_factory):
    """The ledgers of these tests lie in a folder of their own."""
    folder = tmp_path_factory.mktemp("user data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        yield folder / "backtrader-bilstm" / "trials"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of three instruments, of which one ends before the others."""
    folder = tmp_path_factory.mktemp("data")
    for name, bars in random_universe(3).items():
        bars.iloc[: 390 if name == "n1" else 400].to_csv(folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="module")
def ranked(data, tmp_path_factory):
    """A walk with relative forecasts: its exit code, what it printed, and its folder."""
    out = tmp_path_factory.mktemp("ranked")
    return *walk("--data", data, "--out", out, "--outcome", "relative", *QUICK), out


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A walk over planted histories, with two architectures."""
    out = tmp_path_factory.mktemp("planted")
    law = shlex.split("--market echo:strength=0.8 --market-bars 450 --instruments 3")
    both = ["--architecture", "bilstm,transformer"]
    return *walk(*law, "--out", out, *both, *QUICK), out


def test_it_leaves_its_files_and_one_checkpoint_per_fold(ranked):
    code, _, out = ranked
    assert code == 0
    assert sorted(contents(out)) == sorted(
        [*POOLED_FILES, *BOOK_FILES, REPORT]
        + [f"checkpoints/fold-0{number}.ckpt" for number in (1, 2)]
    )
    checkpoint = Checkpoint.load(out / "checkpoints" / "fold-01.ckpt")
    assert list(checkpoint.instruments) == ["n0", "n1", "n2"] and checkpoint.outcome == "relative"
    first = pd.read_csv(out / "folds.csv")["first_decision"][0]
    assert str(checkpoint.trained_until.date()) == first


def test_it_says_time_and_memory_before_it_starts(ranked):
    text = ranked[1]
    told = r"training 2 folds of up to \d+ windows, 1 at a time: \d+ seconds? \(1 epoch each\); "
    assert re.search(told + r"0\.6 GB of memory for each at a time", text)
    assert "3 instruments: 1190 bars of 1 day from 2020-01-01" in text
    assert "2 folds by date: each learns from 120 dates and is judged on the next 60" in text
    assert "where 3 instruments or more can be forecast" in text
    assert (
        "labels: above or below the median move of the others; the last 2 windows must wait" in text
    )


def test_the_verdict_stands_twice(ranked):
    text, found = ranked[1], json.loads((ranked[2] / "pooled.json").read_text())
    assert f"at no cost: {found['verdict_at_no_cost']['sentence']}" in text
    assert f"net of costs: {found['verdict']['sentence']}" in text
    assert (
        found["evidence"]["intervals"]["mean"]["value"]
        < (found["evidence_at_no_cost"]["intervals"]["mean"]["value"])
    )


def test_the_book_is_one_account_over_all_folds(ranked):
    found = json.loads((ranked[2] / "pooled.json").read_text())
    days = pd.read_csv(ranked[2] / "book.csv")
    assert len(days) == 120 and days["equity"][0] == 100_000
    # What the user leaves open is chosen for each fold.
    assert [set(one) for one in found["book"]["folds"]] == [{"keep", "rebalance", "net"}] * 2
    assert all(one["net"] is not None for one in found["book"]["folds"])
    border = found["folds"][1]["first_decision"][:10]
    held = pd.read_csv(ranked[2] / "positions.csv").groupby("date")["weight"].count()
    assert held[border] > 0 and "the book, in one account over all folds" in ranked[1]
    assert "trades.csv" in ranked[1].split("written to")[1]


def test_flags_of_a_book_trade_directions_by_rank(planted, tmp_path):
    out = tmp_path / "ranked"
    shutil.copytree(planted[2], out)
    law = shlex.split("--market echo:strength=0.8 --market-bars 450 --instruments 3")
    book = shlex.split("--long 1 --short 0 --keep 1 --rebalance 3 --cash 5000 --no-fractional")
    both = ["--architecture", "bilstm,transformer"]
    code, text = walk(*law, "--out", out, *both, *QUICK, *book)
    assert code == 0 and text.count("network found") == 4 and "over holding all" in text
    found = json.loads((out / "pooled.json").read_text())
    assert found["settings"]["book"]["long"] == 1 and found["settings"]["book"]["keep"] == 1
    assert [one["net"] for one in found["book"]["folds"]] == [None, None]
    units = pd.read_csv(out / "positions.csv")["units"]
    assert (units > 0).all() and (units == units.round()).all()
    assert not set(BOOK_FILES) & set(contents(planted[2]))


def test_of_a_rank_no_thresholds_are_told(ranked):
    lines = re.findall(r"fold \d: trained until.*?validation loss 0\.\d+", ranked[1])
    assert len(lines) == 2 and "thresholds" not in ranked[1]


def test_the_same_command_again_finds_all_and_leaves_the_same_bytes(ranked, data):
    _, _, out = ranked
    before = contents(out)
    code, text = walk("--data", data, "--out", out, "--outcome", "relative", *QUICK)
    assert (
        code == 0
        and text.count("found finished") == 2
        and "training" not in text.split("fold 1")[0]
    )
    assert contents(out) == before


def test_other_costs_train_no_network_again(ranked, data, tmp_path):
    out = tmp_path / "dearer"
    shutil.copytree(ranked[2], out)
    given = ["--data", data, "--out", out, "--outcome", "relative", "--commission", 50]
    code, text = walk(*given, *QUICK)
    assert code == 0 and text.count("found finished") == 2
    assert "the results there are replaced; commission was 1.0, is 50.0" in text
    # The same weights at other costs were tried before.
    assert "no new trial: the same positions stand in" in text


def test_instruments_that_differ_are_named_without_their_digests(ranked):
    path = ranked[2] / "pooled.json"
    found = json.loads(path.read_bytes())["data"]
    digests = dict(found["instruments"], n0="of other bars", n3="of new ones")
    digests.pop("n2")
    settings = walk_forward.Settings(walk_forward.FoldPlan(), TrainConfig())
    text = describe_replaced(path, found | {"instruments": digests}, settings)
    assert "instruments new: n3 and gone: n2 and changed: n0" in text
    assert "of other bars" not in text


def test_what_was_tried_stands_in_the_ledger_of_such_universes(ranked, data, ledgers, capsys):
    path = ledgers / "several-instruments-1-day.jsonl"
    assert f"1 new trial in {path}" in ranked[1]
    [page] = json.loads(shown_by_ledger(capsys, "--data", data, "--json"))
    assert page["instruments"] == ["n0", "n1", "n2"] and page["instrument"] == "several instruments"
    found = json.loads((ranked[2] / "pooled.json").read_text())
    assert found["sharpe"]["trials"] == 1 and found["registration"] is None
    assert found["sharpe"]["deflated"] == pytest.approx(page["trials"][0]["deflated"])
    assert found["overfitting"]["sentence"] in ranked[1]
    assert "3 instruments, n0 to n2, bars of 1 day" in shown_by_ledger(capsys)
    [file] = path.with_name(f"{path.name}-positions").glob("*.parquet")
    track = pd.read_parquet(file)
    assert list(track) == ["position n0", "position n1", "position n2", "net_return"]
    weights = track.drop(columns="net_return")
    assert weights.abs().sum(axis=1).isin([0, 1]).all() and weights.sum(axis=1).abs().max() < 1e-12


def shown_by_ledger(capsys, *arguments):
    """What the command that shows the ledgers prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        run(ledger_app, [str(argument) for argument in arguments])
    assert not left.value.code
    return capsys.readouterr().out


def test_another_trial_on_the_universe_deflates_the_sharpe_ratio(ranked, data, ledgers, tmp_path):
    shutil.copytree(ledgers, tmp_path / "trials")
    ledger = tmp_path / "trials" / "several-instruments-1-day.jsonl"
    given = ["--data", data, "--out", tmp_path / "out", "--ledger", ledger, "--register"]
    code, text = walk(*given, "--outcome", "relative", "--seed", "7", *QUICK)
    found = json.loads((tmp_path / "out" / "pooled.json").read_text())
    assert code == 0 and found["sharpe"]["trials"] == found["overfitting"]["trials"] == 2
    assert "1 new trial in" in text and found["registration"]["trials"] == 1
    said = found["registration"]["at"]
    assert f"the run was registered on {said}, before its test bars were touched, with 1" in text
    assert "best luck of 2 trials" in (tmp_path / "out" / REPORT).read_text()
    # Once there are results, nothing can be registered any more.
    given[-2:] = [ledger, "--register", "--commission", "9"]
    assert walk(*given, "--outcome", "relative", *QUICK)[0] == 2


def test_the_order_of_the_files_changes_no_network(ranked, data, tmp_path):
    files = [data / f"{name}.csv" for name in ("n2", "n0", "n1")]
    given = ["--data", *files, "--out", tmp_path / "out", "--ledger", tmp_path / "trials"]
    assert walk(*given, "--outcome", "relative", *QUICK)[0] == 0
    ours, theirs = contents(tmp_path / "out"), contents(ranked[2])
    assert ours == theirs


def killed(folder, data, events, *options, fold=""):
    """The walk of `ranked`, killed at each event and taken up again: how all of them ended."""
    script = [sys.executable, "-m", "tests.helpers.deadly_walk", ",".join(map(str, events)), folder]
    ranking = ["--data", data, "--outcome", "relative", *QUICK[:-4], *QUICK[-2:], *options]
    done = subprocess.run(
        [*script, fold, *ranking], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """What such a walk leaves, in a process like those that are killed: with as many threads."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert killed(folder, data, [0], "--jobs", "1") == [[0]]
    return contents(folder / "0")


def test_a_walk_that_is_killed_goes_on_to_the_same_bytes(undisturbed, data, tmp_path):
    assert killed(tmp_path, data, [5], "--jobs", "1") == [[-9, 0]]
    assert contents(tmp_path / "5") == undisturbed


@pytest.mark.slow
def test_it_does_so_killed_at_any_of_its_points(undisturbed, data, tmp_path):
    events = range(1, 28, 2)
    assert killed(tmp_path, data, events, "--jobs", "1") == [[-9, 0]] * len(events)
    for event in events:
        assert contents(tmp_path / str(event)) == undisturbed, event


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["loky", "dask"])
def test_where_it_is_trained_and_what_dies_there_changes_no_byte(
    undisturbed, data, tmp_path, monkeypatch, engine
):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])  # for the workers
    options = ["--jobs", "2"]
    with ExitStack() as open_:
        if engine == "dask":
            place = {"local_directory": str(tmp_path / "dask"), "host": "127.0.0.1"}
            cluster = LocalCluster(2, threads_per_worker=1, dashboard_address=":0", **place)
            options += ["--dask", open_.enter_context(cluster).scheduler_address]
        assert killed(tmp_path, data, [0], *options, fold="fold 2") == [[0]]
    assert (tmp_path / "0.died").exists() and contents(tmp_path / "0") == undisturbed


def test_a_planted_universe_has_histories_of_one_law_and_a_best_forecast(planted):
    code, text, out = planted
    found = json.loads((out / "pooled.json").read_text())
    assert code == 0 and list(found["data"]["instruments"]) == ["echo-1", "echo-2", "echo-3"]
    best = next(row for row in found["forecasters"] if row["forecaster"] == "best possible")
    assert best["auc"] > 0.8 and found["share_found"] is not None
    assert "of the best forecast there is" in text and "thresholds" in text


def test_architectures_stand_beside_each_other(planted):
    _, text, out = planted
    found = json.loads((out / "pooled.json").read_text())
    names = [row["forecaster"] for row in found["forecasters"]]
    assert names == [
        *("strategy", "transformer", "logistic", "boosting", "ridge"),
        *("best possible", "mean of ranks", "reversal", "momentum"),
    ]
    assert found["architectures"] == ["bilstm", "transformer"]
    assert "transformer fold 2: trained until" in text
    assert "2 new trials in" in text and found["sharpe"]["trials"] == 2
    assert (out / "transformer" / "checkpoints" / "fold-01.ckpt").exists()


def test_a_fold_that_fails_costs_no_other(data, tmp_path, monkeypatch, capfd):
    honest = walk_forward.fit

    def fit(past, *others):
        if max(len(bars) for bars in past.values()) > 280:
            raise TrainingDiverged("the loss is nan")
        return honest(past, *others)

    given = ["--data", data, "--out", tmp_path, *QUICK, "--anchored"]
    with monkeypatch.context() as patch:
        patch.setattr(walk_forward, "fit", fit)
        code, _ = walk(*given)
    assert code == 8
    said = " ".join(capfd.readouterr().err.split())
    assert "fold 2: the loss is nan. Kept: 1 of 2 folds; the same command tries the rest" in said
    code, text = walk(*given)
    assert code == 0 and text.count("found finished") == 1


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--data", "{data}/n0.csv"], 3, "one network of several instruments needs several files"),
        ([], 3, "one network of several instruments needs several files, got none"),
        (["--data", "{data}", "--fewest-instruments", "4"], 3, "at least 4 instruments, got 3: n0"),
        (
            ["--data", "{data}", "--train-blocks", "20"],
            3,
            "the test blocks must hold at least 50 dates",
        ),
        (
            ["--data", "{data}", "--batch-size", "999"],
            3,
            "holds no batch of 999 windows. Give more",
        ),
        (["--data", "{data}", "--cash", "5"], 2, "--cash must be left out with --pooled"),
        (
            ["--data", "{data}", "--outcome", "relative", "--allow-short"],
            2,
            "--allow-short must be left out with --pooled where names are ranked",
        ),
        (
            ["--data", "{data}", "--long", "2", "--enter", "0.6", "--exit", "0.5"],
            2,
            "--enter, --exit must be left out with --pooled where names are ranked",
        ),
        (
            ["--data", "{data}", "--long", "2", "--short", "2"],
            3,
            "a book of 2 long and 2 short, and at least 2 that are ranked, must have 4 names with "
            "bars on the test dates, got 3. Give more of them, or lower --long, --short or",
        ),
        (
            ["--data", "{data}", "--cap", "0.1"],
            2,
            "--cap must be at least 0.475, so that 1 long can hold their part of --gross=0.95",
        ),
        (["--data", "{data}", "--long", "1.5"], 2, "--long must be a whole number of names, or a"),
        (["--data", "{data}", "--long", "0", "--short", "0"], 2, "must not both be 0"),
        (
            ["--data", "{data}", "--keep", "0.5", "--gross", "0"],
            2,
            "--keep must be a finite number from 1, got 0.5. --gross must be a finite number above",
        ),
        (["--data", "{data}", "--instruments", "3"], 2, "--instruments must be left out without"),
        (["--market", "echo"], 3, "there must be at least 3 instruments, got 1: echo-1"),
    ],
)
def test_a_fault_is_one_message_and_an_exit_code(data, tmp_path, capfd, arguments, code, message):
    given = [word.format(data=data) for word in arguments]
    usual = list(zip(QUICK[1::2], QUICK[2::2]))
    others = [word for pair in usual if pair[0] not in given for word in pair]
    assert walk("--pooled", "--out", tmp_path, *others, *given)[0] == code
    printed = capfd.readouterr().err
    assert message in " ".join(printed.split()) and printed.count("error:") == 1
    assert not list(tmp_path.glob("checkpoints/*"))


def test_what_is_wrong_with_the_files_is_told_at_once(data, tmp_path, capfd):
    for name in ("n0", "n1", "n2"):
        shutil.copy(data / f"{name}.csv", tmp_path)
    shutil.copy(data / "n0.csv", tmp_path / "copy.csv")
    (tmp_path / "none.csv").write_text("no bars at all")
    weekly = pd.read_csv(data / "n2.csv").assign(
        date=pd.date_range("2010-01-01", periods=400, freq="7D")
    )
    weekly.to_csv(tmp_path / "weekly.csv", index=False)
    assert walk("--data", tmp_path, "--out", tmp_path / "out", *QUICK)[0] == 3
    said = " ".join(capfd.readouterr().err.split())
    assert said.count("error:") == 1 and "the universe of 6 files cannot be used" in said
    assert "none.csv" in said and "copy.csv, n0.csv hold the same prices" in said
    assert "weekly.csv (7 days)" in said


def test_two_files_of_one_name_are_told_by_their_folders(data, tmp_path, capfd):
    shutil.copy(data / "n1.csv", tmp_path / "n0.csv")
    files = [data / "n0.csv", tmp_path / "n0.csv", data / "n2.csv"]
    assert walk("--data", *files, "--out", tmp_path / "out", *QUICK)[0] == 3
    said = " ".join(capfd.readouterr().err.split())
    assert f"{files[0]}, {files[1]} must have different names: all of them are called n0." in said
    # There are three all the same.
    assert said.count("- ") == 1 and "at least 3 instruments" not in said


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--outcome", "relative"], "--outcome must be direction without --pooled, got relative"),
        (["--data", "{data}", "--long", "3"], "--long must be left out without --pooled: a book"),
        (["--short", "0.2"], "the flags of a book must be left out without --pooled"),
        (["--market", "echo", "--instruments", "3"], "--instruments must be 1 without --pooled"),
    ],
)
def test_what_needs_a_universe_is_refused_without_one(data, tmp_path, capfd, arguments, message):
    given = [word.format(data=data) for word in arguments]
    assert walk("--out", tmp_path, *given)[0] == 2
    assert message in " ".join(capfd.readouterr().err.split())


def test_the_help_says_when_to_take_it():
    text = walk("--help")[1]
    assert "--pooled" in text and "Train one network per fold on all files together" in text
    assert "Leave it out where each has laws of its own." in text.replace("│ │ ", "")
