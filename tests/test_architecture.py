"""Who may import whom: the ranks and walls of the house, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("model", "strategy_plugin", "backtests")

# A room may import the rooms of lower ranks only. A new room joins the lowest rank above those that it imports.
RANKS = {
    0: (
        "backtests.benchmark_rounds",
        "model",
        "model.baseline",
        "model.calibration",
        "model.container",
        "model.faults",
        "model.files",
        "model.delay_lines",
        "model.drift",
        "model.interruption",
        "model.intervals",
        "model.labels",
        "model.metrics",
        "model.process",
        "model.provenance",
        "model.provenance",
        "model.scaling",
        "model.series",
        "strategy_plugin",
        "strategy_plugin.clock",
        "strategy_plugin.decision",
        "strategy_plugin.quality",
        "strategy_plugin.sizing",
        "strategy_plugin.stops",
        "backtests",
        "backtests.bootstrap",
        "backtests.cluster",
        "backtests.direction_tests",
        "backtests.filters",
        "backtests.pages",
        "backtests.reliability",
        "backtests.round_trips",
        "backtests.rows",
        "backtests.sharpe",
    ),
    1: (
        "backtests.benchmark_first_bar",
        "backtests.drawing",
        "model.network",
        "model.numbers",
        "model.repairs",
        "model.suspicions",
        "model.targets",
        "model.windowing",
        "strategy_plugin.signals",
        "strategy_plugin.sizers",
        "backtests.markets",
        "backtests.positions",
    ),
    2: ("model.clocks", "model.columns", "model.formulas", "model.transformer"),
    3: ("model.architectures", "model.layouts", "model.stamps"),
    4: ("model.dialects", "model.members", "model.zones"),
    5: ("model.bars", "model.record"),
    6: ("model.features", "model.sample", "strategy_plugin.guard"),
    7: (
        "backtests.benchmark_plain",
        "backtests.benchmark_features",
        "model.command",
        "model.loading",
        "model.windows",
        "strategy_plugin.buffer",
        "strategy_plugin.orders",
    ),
    8: (
        "backtests.benchmark_pybroker",
        "backtests.benchmark_engine",
        "model.checkpoint",
        "model.settings",
        "strategy_plugin.lane",
        "strategy_plugin.venue",
    ),
    9: (
        "model.course",
        "model.schedule",
        "strategy_plugin.analyzers",
        "strategy_plugin.journal",
        "backtests.fingerprint",
        "backtests.importance",
        "backtests.ledger",
        "backtests.thresholds",
    ),
    10: ("model.optimisation", "model.resume", "strategy_plugin.schedule"),
    11: ("model.training", "strategy_plugin.cache", "strategy_plugin.playback"),
    12: (
        "backtests.universe",
        "model.doctor",
        "model.predict",
        "model.train",
        "strategy_plugin.indicator",
    ),
    13: ("strategy_plugin.strategy",),
    14: ("backtests.simulation",),
    15: (
        "backtests.benchmark_trading",
        "backtests.baselines",
        "backtests.leaks",
        "backtests.picture",
        "backtests.progress",
        "backtests.returns",
        "backtests.walk_forward",
    ),
    16: (
        "backtests.benchmark_training",
        "backtests.benchmark_live",
        "backtests.control_table",
        "backtests.rivals",
        "backtests.scoring",
        "backtests.state",
        "backtests.subjects",
    ),
    17: ("backtests.benchmark_contests", "backtests.campaign", "backtests.decisions"),
    18: (
        "backtests.benchmark",
        "backtests.audit",
        "backtests.controls",
        "backtests.evidence",
        "backtests.pooled",
    ),
    19: ("backtests.verdict",),
    20: ("backtests.results", "backtests.schema"),
    21: ("backtests.charts", "backtests.comparison", "backtests.universe_results"),
    22: ("backtests.tables", "backtests.verdicts"),
    23: ("backtests.report",),
    24: ("backtests.universe_report", "backtests.walks"),
    25: ("backtests.run",),
}
RANK_OF = {room: rank for rank, rooms in RANKS.items() for room in rooms}


class Import(NamedTuple):
    """One name of one import statement: by whom, of what, in which line, inside a function or not."""

    room: str
    target: str
    line: int
    hidden: bool


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
SOURCES = {room_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def targets(node: ast.AST) -> list[str]:
    """Return the modules that a statement imports; `from model import bars` imports model.bars."""
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if isinstance(node, ast.ImportFrom):
        whole = [f"{node.module}.{name.name}" for name in node.names]
        return [name if name in SOURCES else str(node.module) for name in whole]
    return []


def imports_in(room: str, node: ast.AST, hidden: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        yield from (Import(room, target, child.lineno, hidden) for target in targets(child))  # type: ignore[attr-defined]
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from imports_in(
                room,
                child,
                hidden or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)),
            )


IMPORTS = [found for room, tree in SOURCES.items() for found in imports_in(room, tree)]
OWN = [found for found in IMPORTS if found.target.split(".")[0] in PACKAGES]


def test_every_room_has_a_rank_and_every_rank_its_rooms() -> None:
    assert sorted(SOURCES.keys() - RANK_OF.keys()) == [], "rooms without a rank: add them to RANKS"
    assert sorted(RANK_OF.keys() - SOURCES.keys()) == [], (
        "ranks without a room: take them out of RANKS"
    )


def test_a_room_imports_only_rooms_of_lower_rank() -> None:
    ranked = [found for found in OWN if found.target in RANK_OF and found.room in RANK_OF]
    assert not [found for found in ranked if RANK_OF[found.target] >= RANK_OF[found.room]]


def test_no_own_room_is_imported_inside_a_function() -> None:
    assert not [found for found in OWN if found.hidden]


@pytest.mark.parametrize(
    ("package", "known"), [("model", ("model",)), ("strategy_plugin", ("strategy_plugin", "model"))]
)
def test_a_package_knows_only_itself_and_those_before_it(
    package: str, known: tuple[str, ...]
) -> None:
    from_package = [found for found in OWN if found.room.split(".")[0] == package]
    assert from_package
    assert not [found for found in from_package if found.target.split(".")[0] not in known]


HOSTED = {
    "strategy_plugin.indicator",
    "strategy_plugin.strategy",
    "strategy_plugin.analyzers",
    "strategy_plugin.sizers",
    "strategy_plugin.venue",
    "backtests.simulation",
    "backtests.benchmark_trading",
    "backtests.benchmark_live",
}


def test_backtrader_is_imported_only_where_it_is_the_host() -> None:
    assert not [
        found
        for found in IMPORTS
        if found.target.split(".")[0] == "backtrader" and found.room not in HOSTED
    ]


TRAINING = {
    "model.training",
    "model.train",
    "model.course",
    "model.optimisation",
    "model.resume",
    "model.windows",
    "model.metrics",
    "model.calibration",
    "model.sample",
    "model.command",
}


def test_the_plugin_never_imports_training() -> None:
    assert not [
        found
        for found in OWN
        if found.room.startswith("strategy_plugin") and found.target in TRAINING
    ]


def calls_in(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "torch.load",
    "torch.save",
    "torch.jit.load",
    "torch.hub.load",
    "torch.hub.load_state_dict_from_url",
    "joblib.load",
    "joblib.dump",
    "np.load",
    "pd.read_pickle",
}
PICKLES = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "skops"}


@pytest.mark.parametrize("room", sorted(SOURCES))
def test_nothing_in_the_house_reads_or_writes_pickles_or_runs_text(room: str) -> None:
    assert not calls_in(SOURCES[room]) & FORBIDDEN
    assert not [
        found for found in IMPORTS if found.room == room and found.target.split(".")[0] in PICKLES
    ]


def test_there_is_one_loader_of_weights() -> None:
    assert {found.room for found in IMPORTS if found.target.split(".")[0] == "safetensors"} == {
        "model.container"
    }


def test_torchs_threads_have_one_home() -> None:
    setters = ("torch.set_num_threads", "torch.set_num_interop_threads")
    assert {room for room, tree in SOURCES.items() if calls_in(tree) & set(setters)} == {
        "model.process"
    }


@pytest.mark.parametrize(
    "found",
    [
        Import("model.bars", "model.faults", 1, False),
        Import("strategy_plugin.guard", "model.faults", 1, False),
    ],
)
def test_imports_are_seen(found: Import) -> None:
    assert (found.room, found.target) in {(other.room, other.target) for other in OWN}


def test_a_hidden_import_would_be_seen_and_one_for_types_not() -> None:
    text = """
def late():
    from model import bars
if TYPE_CHECKING:
    import model.training
from model.faults import BarsError
"""
    found = list(imports_in("model.new", ast.parse(text)))
    assert [(name.target, name.hidden) for name in found] == [
        ("model.bars", True),
        ("model.faults", False),
    ]
