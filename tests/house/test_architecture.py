"""Who may import whom: the ranks and walls of the house, read from the source."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.processes import ROOT

PACKAGES = ("model", "strategy_plugin", "backtests")

# The rooms of each package in their order: a room may import those before it. A room is a folder,
# or a file that stands directly in its package. Within a folder any order will do without a circle.
ORDER = {
    "model": (
        "errors supplied fresh_process settings settings_file files metrics provenance precision "
        "runtime notebook bars features labels networks cli context checkpoint predict training "
        "doctor train"
    ),
    "strategy_plugin": (
        "feeds guard hours dates cache delivered peers context indicator decision weights "
        "orders sizers ranking instrument broker settling journal recorded analyzers replaying "
        "startup trading strategy book live history reconcile trade"
    ),
    "backtests": (
        "progress simulation exchange_box exchange walk_forward evidence reports lookahead "
        "synthetic benchmarks cost walk walk_pooled walk_options ledger audit controls "
        "benchmark analyzers judge compare run search false_alarms verdicts console"
    ),
}


class Import(NamedTuple):
    """One name of an import: by whom, of what, in which line, inside a function or not."""

    room: str
    target: str
    line: int
    hidden: bool


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The examples are scripts of a user's: they may use whatever is public.
FILES = [
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.parent.name != "examples"
]
SOURCES = {room_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
# What the stub beside an `__init__.py` names is imported too, when it is first used.
STUBS = {
    room_of(path): ast.parse(path.with_suffix(".pyi").read_text(encoding="utf-8"))
    for path in FILES
    if path.with_suffix(".pyi").exists()
}


def targets(room: str, node: ast.AST) -> list[str]:
    """Return the modules that a statement imports; `from model import bars` imports model.bars."""
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if isinstance(node, ast.ImportFrom):
        # Relative ones stand in stubs, of packages.
        parts = [room] * node.level + [node.module] * (node.module is not None)
        whole = [".".join([*parts, name.name]) for name in node.names]
        return [name if name in SOURCES else ".".join(parts) for name in whole]
    return []


def imports_in(room: str, node: ast.AST, hidden: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        yield from (Import(room, target, child.lineno, hidden) for target in targets(room, child))  # type: ignore[attr-defined]
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from imports_in(
                room,
                child,
                hidden or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)),
            )


IMPORTS = [
    found
    for trees in (SOURCES, STUBS)
    for room, tree in trees.items()
    for found in imports_in(room, tree)
]
OWN = [found for found in IMPORTS if found.target.split(".")[0] in PACKAGES]


def area(room: str) -> str:
    """Return the folder of a module, or the module where it stands directly in its package."""
    return ".".join(room.split(".")[:2])


RANK_OF = {
    f"{package}.{name}": rank
    for package, names in ORDER.items()
    for rank, name in enumerate(names.split())
}


def test_every_room_has_its_place_and_every_place_its_room() -> None:
    assert {area(room) for room in SOURCES if "." in room} == set(RANK_OF)


def test_a_room_imports_only_rooms_before_it_in_its_package() -> None:
    # Whoever imports the face of its own package may reach all that it shows.
    shown = {face: [found for found in OWN if found.room == face] for face in PACKAGES}
    reached = [
        found._replace(target=room.target)
        for found in OWN
        for room in shown.get(found.target, [found])
    ]
    within = [
        found
        for found in reached
        if found.room.split(".")[0] == found.target.split(".")[0]
        and area(found.room) != area(found.target)
        and "." in found.room
    ]
    assert len(within) > 100
    assert not [
        found for found in within if RANK_OF[area(found.target)] >= RANK_OF[area(found.room)]
    ]


def test_no_circle_of_imports() -> None:
    imported: dict[str, set[str]] = {room: set() for room in SOURCES}
    for found in OWN:
        imported[found.room].add(found.target)
    with pytest.raises(CycleError):
        TopologicalSorter(imported | {"model.errors": {"backtests.run"}}).prepare()
    TopologicalSorter(imported).prepare()


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
    "strategy_plugin.book",
    "strategy_plugin.analyzers",
    "strategy_plugin.sizers",
    "strategy_plugin.broker",
    "strategy_plugin.settling",
    "strategy_plugin.trading",
    "strategy_plugin.startup",
    "strategy_plugin.live.session",
    "strategy_plugin.live.broker",
    "strategy_plugin.live.feed",
    "strategy_plugin.live.reference",
    "strategy_plugin.live.rules",
    "backtests.simulation.broker",
    "backtests.simulation.book_account",
    "backtests.analyzers",
    "backtests.benchmarks.trading",
    "backtests.benchmarks.live",
    "backtests.benchmarks.ordering",
    "backtests.benchmarks.pooled",
    "backtests.benchmarks.book",
}


def test_backtrader_is_imported_only_where_it_is_the_host() -> None:
    assert not [
        found
        for found in IMPORTS
        if found.target.split(".")[0] == "backtrader" and found.room not in HOSTED
    ]


def test_the_plugin_never_imports_training_or_a_command() -> None:
    assert not [
        found
        for found in OWN
        if found.room.startswith("strategy_plugin")
        and found.room.removeprefix("strategy_plugin.") not in ("history", "reconcile", "trade")
        and area(found.target) in {"model.training", "model.train", "model.doctor", "model.cli"}
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


# Over pipes, between a process and its own child: it reads and writes no file.
PIPED = "model.fresh_process"


@pytest.mark.parametrize("room", sorted(SOURCES.keys() - {PIPED}))
def test_nothing_in_the_house_reads_or_writes_pickles_or_runs_text(room: str) -> None:
    assert not calls_in(SOURCES[room]) & FORBIDDEN
    assert not [
        found for found in IMPORTS if found.room == room and found.target.split(".")[0] in PICKLES
    ]


def test_pickles_go_through_pipes_alone() -> None:
    calls = calls_in(SOURCES[PIPED])
    assert not calls & FORBIDDEN
    files = ("open", "Path", "read_bytes", "write_bytes", "tempfile")
    assert not [call for call in calls if call.rpartition(".")[2] in files]
    assert "pickle.load" in calls and "subprocess.run" in calls


def test_there_is_one_loader_of_weights() -> None:
    assert {found.room for found in IMPORTS if found.target.split(".")[0] == "safetensors"} == {
        "model.checkpoint.format"
    }


def test_torchs_threads_have_one_home() -> None:
    setters = ("torch.set_num_threads", "torch.set_num_interop_threads")
    assert {room for room, tree in SOURCES.items() if calls_in(tree) & set(setters)} == {
        "model.runtime"
    }


@pytest.mark.parametrize(
    "found",
    [
        Import("model.bars.read", "model.bars.faults", 1, False),
        Import("strategy_plugin.guard", "model.bars.faults", 1, False),
    ],
)
def test_imports_are_seen(found: Import) -> None:
    assert (found.room, found.target) in {(other.room, other.target) for other in OWN}


def test_a_hidden_import_would_be_seen_and_one_for_types_not() -> None:
    text = """
def late():
    from model.bars import read
if TYPE_CHECKING:
    import model.training
from model.errors import BarsError
"""
    found = list(imports_in("model.new", ast.parse(text)))
    assert [(name.target, name.hidden) for name in found] == [
        ("model.bars.read", True),
        ("model.errors", False),
    ]


def test_what_a_package_imports_when_it_is_first_used_counts() -> None:
    faces = {(found.room, found.target) for found in OWN}
    assert ("model.training", "model.training.fitting") in faces
    assert ("backtests", "backtests.walk") in faces


def names_taken(tree: ast.AST) -> set[tuple[str, str]]:
    """Return the names that are taken from faces, with the face, as in `training.fit`."""
    faces = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            parent = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            faces |= {name.asname or name.name: parent + name.name for name in node.names}
    return {
        (faces[node.value.id], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in faces
    }


def test_the_face_of_a_folder_shows_only_what_is_taken_from_it() -> None:
    taken = set().union(*(names_taken(tree) for tree in SOURCES.values()))
    shown = {
        (face, name.name)
        for face, tree in STUBS.items()
        if face not in ("model", "strategy_plugin")  # whose names are the users'
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert ("model.training", "fit") in shown
    assert shown <= taken
