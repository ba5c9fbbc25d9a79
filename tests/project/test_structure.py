"""The shape of the program: which part may know which, and how large its pieces may grow.

The imports are read from the source (ast); what a start loads is read from a real child process.
"""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("trader", "state", "observers", "paper_gateway")
SOURCES = [*sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py")), ROOT / "trader.py"]
TOOLS = sorted(path for part in ("bench", "crashlab") for path in (ROOT / part).rglob("*.py"))
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 450

# Imports go from a higher line to a lower one, or stay within their own. Longest prefix counts.
TRADER_LAYERS = (
    ("trader.errors", "trader.config.run_options", "trader.startup"),
    ("trader.clock", "trader.config"),
    ("trader.output", "trader.log", "trader.runtime.stopping", "trader.hours"),
    ("trader.core.bars", "trader.core.numbers", "trader.core.sizing", "trader.core.strategy"),
    ("trader.broker",),
    ("trader.core.orders",),
    ("trader.core.reconciliation",),
    ("trader.core",),
    (
        "trader.runtime.recovery_report",
        "trader.runtime.timers",
        "trader.runtime.connection",
        "trader.runtime.control_socket",
    ),
    ("trader.runtime.connect",),
    ("trader.runtime.session_record",),
    ("trader.runtime.session", "trader.runtime.reconcile_only"),
    ("trader.runtime.app",),
    ("trader.cli.commands",),
    ("trader.cli",),
)
STATE_LAYERS = (
    ("state.errors",),
    ("state.domain.model",),
    ("state.domain.events", "state.domain.pnl", "state.domain.invariants"),
    ("state.domain",),
    ("state.storage",),
    ("state.manager",),
    ("state.history",),
)
LIBRARY = frozenset({"ib_insync", "eventkit"})
NETWORK = frozenset({"socket", "ssl", "http", "urllib", "ftplib", "smtplib"}) | LIBRARY
# None of it helps to protect a position, so a restart must not pay for it before the gate.
NOT_BEFORE_THE_GATE = frozenset(
    {"argparse", "html", "sqlite3", "pandas", "exchange_calendars", "matplotlib", "unittest", "pytest", "freezegun"}
)


def name_of(path: Path) -> str:
    """trader/core/orders/closing.py -> trader.core.orders.closing; a package is named without __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in SOURCES if path.name != "trader.py"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """What a file imports, at its top or in a function; `from a import b` names a.b where that is a module."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            inner = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= inner
            if len(inner) < len(node.names):
                found.add(base)
    return found


IMPORTS = {name: imports(path) for name, path in MODULES.items()}


def part_of(name: str) -> str:
    return name.partition(".")[0]


def layer_of(name: str, layers: tuple[tuple[str, ...], ...]) -> int:
    """The highest line whose entry is the module or a package around it."""
    matches = {
        entry: number
        for number, entries in enumerate(layers)
        for entry in entries
        if name == entry or name.startswith(entry + ".")
    }
    if not matches:
        pytest.fail(f"{name} is in no layer: give it its place in tests/project/test_structure.py")
    return matches[max(matches, key=len)]


def upward_imports(part: str, layers: tuple[tuple[str, ...], ...]) -> list[str]:
    found = []
    for name, imported in IMPORTS.items():
        if part_of(name) != part or name in (
            part,
            f"{part}.core",
            f"{part}.runtime",
            f"{part}.storage",
            f"{part}.domain",
        ):
            continue
        mine = layer_of(name, layers)
        found += [
            f"{name} imports {other}"
            for other in sorted(imported)
            if part_of(other) == part and other != part and layer_of(other, layers) > mine
        ]
    return found


def test_the_source_is_found() -> None:
    """The other tests of this file would pass on nothing."""
    assert {
        "trader.runtime.app",
        "trader.core.orders.closing",
        "state.manager",
        "paper_gateway.server",
    } <= MODULES.keys()
    assert (
        "trader.broker.ibkr.broker" in IMPORTS["trader.runtime.connect"]
    )  # imported inside a function, and seen all the same


def test_state_knows_no_network_and_neither_trader_nor_gateway() -> None:
    for name, imported in IMPORTS.items():
        if part_of(name) == "state":
            roots = {part_of(other) for other in imported}
            assert not roots & (NETWORK | {"trader", "observers", "paper_gateway"}), name


def test_the_gateway_meets_the_trader_at_the_socket_only() -> None:
    for name, imported in IMPORTS.items():
        roots = {part_of(other) for other in imported}
        if part_of(name) == "paper_gateway":
            assert not roots & {"trader", "state", "ib_insync", "eventkit"}, name
        else:
            assert "paper_gateway" not in roots, name


def test_one_module_alone_imports_ib_insync() -> None:
    """So that its maintained successor can take its place by one change."""
    users = [name for name, imported in IMPORTS.items() if {part_of(o) for o in imported} & LIBRARY]
    assert users == ["trader.broker.ibkr.client"]


def test_imports_of_the_trader_run_one_way() -> None:
    assert upward_imports("trader", TRADER_LAYERS) == []


def test_imports_of_the_state_run_one_way() -> None:
    assert upward_imports("state", STATE_LAYERS) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    inside = {name: imported & MODULES.keys() for name, imported in IMPORTS.items()}
    TopologicalSorter(inside).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", [*SOURCES, *TOOLS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_FILE_LINES, f"{lines} lines: split it by concern"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} at line {node.lineno} has {length} lines"


def handlers() -> Iterator[tuple[str, ast.ExceptHandler, str]]:
    """Each `except` with the line it stands on."""
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node, lines[node.lineno - 1]


def test_nothing_is_caught_without_a_name() -> None:
    assert [where for where, node, _ in handlers() if node.type is None] == []


def test_whoever_catches_everything_says_why() -> None:
    """Or lets it go on: a handler that ends with a bare `raise` only tidies up."""
    for where, node, line in handlers():
        names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type is not None else set()
        goes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if names & {"Exception", "BaseException"} and not goes_on:
            reason = line.partition("#")[2].replace("noqa: BLE001", "").strip(" -")
            assert reason, f"{where}: say behind it why everything is caught"


def test_output_goes_through_one_place() -> None:
    for path in SOURCES:
        calls = [node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
        assert "print" not in {call.id for call in calls if isinstance(call, ast.Name)}, path


def test_each_module_says_its_role() -> None:
    for path in SOURCES:
        if path.stat().st_size:
            assert ast.get_docstring(tree_of(path)), path


def test_tests_follow_the_layout_and_hide_no_package() -> None:
    """A folder of tests with an `__init__.py`, or with a package's own name, could be imported in its place."""
    tests = ROOT / "tests"
    assert not list(tests.rglob("__init__.py"))
    folders = {path.parent.name for path in tests.rglob("*.py") if path.parent != tests}
    assert not folders & {path.name for path in ROOT.iterdir() if path.is_dir()}
    names: dict[str, list[Path]] = defaultdict(list)
    for path in tests.rglob("*.py"):
        names[path.name].append(path)
    assert [found for found in names.values() if len(found) > 1] == []


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after some code."""
    shown = f"import sys\n{code}\nsys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", shown], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.usefixtures("unmeasured")
def test_a_start_loads_only_what_protects() -> None:
    """Up to the gate: the app, the session and the line."""
    loaded = loaded_by("import trader.runtime.app, trader.runtime.session, trader.broker.ibkr.broker")
    assert not {part_of(name) for name in loaded} & NOT_BEFORE_THE_GATE
    assert not {name for name in loaded if name.startswith(("trader.cli.commands", "paper_gateway"))}


def test_the_client_library_is_loaded_inside_the_running_loop() -> None:
    """It looks for an event loop when it is imported; without one it warns on 3.12 and fails on 3.14."""
    assert "ib_insync" not in loaded_by("import trader.runtime.app, trader.runtime.session")


def test_the_state_alone_is_light() -> None:
    """`status` reads the files and nothing else."""
    loaded = loaded_by("import trader.cli.commands.status")
    assert not {part_of(name) for name in loaded} & {"ib_insync", "numpy", "paper_gateway"}
