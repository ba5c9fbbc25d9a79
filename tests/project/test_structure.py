"""The structure of the program: which folder may import which, and the size of files and functions.

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

# What each folder or module may import of the project; the longest name that fits counts. A permission that is not
# used fails a test too, so the table is exact.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "state": (),
    "state.errors": (),
    "state.domain": ("state.errors",),
    "state.storage": ("state.domain", "state.errors"),
    "state.manager": ("state.domain", "state.errors", "state.storage"),
    "state.history": ("state.domain", "state.errors", "state.manager", "state.storage"),
    "trader": (),
    "trader.errors": ("state.errors",),
    "trader.startup": (),
    "trader.plain_text": (),
    "trader.time_zones": ("trader.errors",),
    "trader.clock": ("trader.errors", "trader.time_zones"),
    "trader.hours": ("trader.config", "trader.errors", "trader.time_zones"),
    "trader.log": ("state.errors", "trader.plain_text"),
    "trader.output": ("state.errors", "trader.plain_text"),
    "trader.config": ("trader.errors",),
    "trader.broker": (),
    "trader.broker.port": ("state.domain", "trader.errors"),
    "trader.broker.ibkr": (
        "state.domain",
        "state.errors",
        "trader.broker.port",
        "trader.errors",
        "trader.plain_text",
        "trader.startup",
        "trader.time_zones",
    ),
    "trader.broker.embedded": ("trader.config", "trader.errors"),
    "trader.core": (
        "state.domain",
        "state.errors",
        "trader.broker.port",
        "trader.config",
        "trader.errors",
        "trader.hours",
        "trader.time_zones",
    ),
    "trader.runtime": (
        "state.domain",
        "state.errors",
        "state.manager",
        "state.storage",
        "trader.broker",
        "trader.clock",
        "trader.config",
        "trader.core",
        "trader.errors",
        "trader.log",
        "trader.output",
        "trader.plain_text",
    ),
    "trader.cli": (
        "observers",
        "state.domain",
        "state.errors",
        "state.history",
        "state.storage",
        "trader.clock",
        "trader.config",
        "trader.errors",
        "trader.output",
        "trader.plain_text",
        "trader.runtime",
        "trader.time_zones",
    ),
    "observers": (
        "state.domain",
        "state.errors",
        "state.history",
        "state.storage",
        "trader.output",
        "trader.plain_text",
        "trader.time_zones",
    ),
    "paper_gateway": (),
}
# Inside the core, from the values to the decisions: each row may import itself and the rows before it.
CORE_LAYERS = (
    ("trader.core.bars", "trader.core.data_state", "trader.core.numbers"),
    ("trader.core.sizing", "trader.core.strategy"),
    (
        "trader.core.orders.actions",
        "trader.core.orders.closing_life",
        "trader.core.orders.codes",
        "trader.core.orders.order_life",
        "trader.core.orders.order_ref",
    ),
    ("trader.core.orders.broker_events", "trader.core.orders.protection"),
    ("trader.core.reconciliation",),
    ("trader.core.effects", "trader.core.messages", "trader.core.view"),
    ("trader.core.turn",),
    ("trader.core.prices",),
    (
        "trader.core.account",
        "trader.core.connection_status",
        "trader.core.isolation",
        "trader.core.limits",
        "trader.core.orders",
    ),
    ("trader.core.market_data",),
    ("trader.core.data_check", "trader.core.day", "trader.core.entries", "trader.core.exits", "trader.core.facts"),
    ("trader.core.comparison", "trader.core.flatten", "trader.core.recovery"),
    ("trader.core.operator",),
    ("trader.core.engine",),
)
# Pure code uses no file, clock, network or random number; it does not wait and does not write.
PURE = ("state.domain", "trader.core", "trader.broker.port", "trader.hours", "trader.plain_text")
NOT_PURE = frozenset(
    {
        "asyncio",
        "concurrent",
        "datetime.now",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
    }
)
FILE_METHODS = frozenset(
    {"open", "read_bytes", "read_text", "write_bytes", "write_text", "glob", "iterdir", "stat"}
)
LIBRARY = frozenset({"ib_insync", "eventkit"})
NETWORK = frozenset({"socket", "ssl", "http", "urllib", "ftplib", "smtplib"}) | LIBRARY
# Not needed to protect a position, so a start must not load it before the protection gate.
NOT_NEEDED_TO_PROTECT = frozenset(
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


def entry_of(name: str) -> str:
    """The longest entry of MAY_IMPORT that is the module or a package around it."""
    fits = [entry for entry in MAY_IMPORT if name == entry or name.startswith(entry + ".")]
    if not fits:
        pytest.fail(f"{name} has no place: give it one in MAY_IMPORT of tests/project/test_structure.py")
    return max(fits, key=len)


def crossings() -> Iterator[tuple[str, str, str]]:
    """Each import of one entry's module by another's: (importing module, its entry, imported entry)."""
    for name, imported in IMPORTS.items():
        mine = entry_of(name)
        for other in imported:
            if part_of(other) in PARTS and (theirs := entry_of(other)) != mine:
                yield name, mine, theirs


def allowed(mine: str, theirs: str) -> bool:
    return any(theirs == entry or theirs.startswith(entry + ".") for entry in MAY_IMPORT[mine])


def test_the_source_is_found() -> None:
    """Without sources the other tests of this file would pass."""
    assert {
        "trader.runtime.app",
        "trader.core.orders.closing",
        "state.manager",
        "paper_gateway.server",
    } <= MODULES.keys()
    assert "trader.broker.ibkr.broker" in IMPORTS["trader.runtime.connection"]  # imported inside a function


def test_state_imports_no_network_no_trader_and_no_gateway() -> None:
    for name, imported in IMPORTS.items():
        if part_of(name) == "state":
            roots = {part_of(other) for other in imported}
            assert not roots & (NETWORK | {"trader", "observers", "paper_gateway"}), name


def test_gateway_and_trader_do_not_import_each_other() -> None:
    for name, imported in IMPORTS.items():
        roots = {part_of(other) for other in imported}
        if part_of(name) == "paper_gateway":
            assert not roots & {"trader", "state", "ib_insync", "eventkit"}, name
        else:
            assert "paper_gateway" not in roots, name


def test_one_module_alone_imports_ib_insync() -> None:
    """So that another client library needs one change."""
    users = [name for name, imported in IMPORTS.items() if {part_of(o) for o in imported} & LIBRARY]
    assert users == ["trader.broker.ibkr.client"]


def test_each_folder_imports_what_it_may_and_no_more() -> None:
    assert [f"{name} imports {theirs}" for name, mine, theirs in crossings() if not allowed(mine, theirs)] == []


def test_each_permission_is_needed() -> None:
    used = {(mine, theirs) for _, mine, theirs in crossings()}
    idle = [
        f"{mine} may import {entry}"
        for mine, entries in MAY_IMPORT.items()
        for entry in entries
        if not any(m == mine and (t == entry or t.startswith(entry + ".")) for m, t in used)
    ]
    assert idle == []


def test_the_core_is_layered() -> None:
    def layer(name: str) -> int:
        fits = {e: n for n, line in enumerate(CORE_LAYERS) for e in line if name == e or name.startswith(e + ".")}
        assert fits, f"{name} has no place in CORE_LAYERS"
        return fits[max(fits, key=len)]

    core = {name for name in MODULES if name.startswith("trader.core.")} - {"trader.core.orders"}
    upward = [
        f"{name} imports {other}" for name in core for other in IMPORTS[name] & core if layer(other) > layer(name)
    ]
    assert upward == []


@pytest.mark.parametrize("name", [n for n in sorted(MODULES) if n.startswith(PURE)])
def test_pure_code_reaches_no_file_no_clock_and_no_network(name: str) -> None:
    roots = {part_of(other) for other in IMPORTS[name]}
    assert not roots & NOT_PURE
    for node in ast.walk(tree_of(MODULES[name])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in FILE_METHODS | {"utcnow"}, f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and node.attr in ("now", "today") and isinstance(node.value, ast.Name):
            assert node.value.id not in ("datetime", "date"), f"line {node.lineno}"
        assert not isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncWith | ast.AsyncFor) or (
            name == "trader.broker.port"  # the protocol of what the shell awaits
        ), f"line {node.lineno}"


def test_there_are_no_import_cycles() -> None:
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
    """Each `except`: where it is, its node, its source line."""
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node, lines[node.lineno - 1]


def test_nothing_is_caught_without_a_name() -> None:
    assert [where for where, node, _ in handlers() if node.type is None] == []


def test_a_handler_that_catches_everything_says_why() -> None:
    """A handler that ends with a bare `raise` needs no reason: it only cleans up."""
    for where, node, line in handlers():
        names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type is not None else set()
        raises_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if names & {"Exception", "BaseException"} and not raises_again:
            reason = line.partition("#")[2].replace("noqa: BLE001", "").strip(" -")
            assert reason, f"{where}: say in a comment why everything is caught"


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
def test_a_start_loads_only_what_protecting_positions_needs() -> None:
    """Up to the protection gate: app, session and broker."""
    loaded = loaded_by("import trader.runtime.app, trader.runtime.session, trader.broker.ibkr.broker")
    assert not {part_of(name) for name in loaded} & NOT_NEEDED_TO_PROTECT
    assert not {name for name in loaded if name.startswith(("trader.cli.commands", "paper_gateway"))}


def test_the_client_library_is_loaded_inside_the_running_loop() -> None:
    """It looks for an event loop when it is imported; without one it warns on 3.12 and fails on 3.14."""
    assert "ib_insync" not in loaded_by("import trader.runtime.app, trader.runtime.session")


def test_the_state_alone_is_light() -> None:
    """`status` reads the files and nothing else."""
    loaded = loaded_by("import trader.cli.commands.status")
    assert not {part_of(name) for name in loaded} & {"ib_insync", "numpy", "paper_gateway"}
