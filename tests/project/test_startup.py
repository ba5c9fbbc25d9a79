"""A start imports only the used modules of the client library; a later import of the whole library still works."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(code: str) -> str:
    """The output of a fresh interpreter: imports cannot be undone in this one."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_restart_imports_neither_numpy_nor_an_http_client() -> None:
    code = (
        "import sys, trader.cli.parser, trader.cli.commands.run, trader.runtime.app, trader.broker.ibkr.broker\n"
        "print([name for name in ('numpy', 'urllib.request', 'ib_insync', 'ib_insync.ib') if name in sys.modules])"
    )
    assert run(code) == "[]"


def test_the_whole_library_can_be_imported_afterwards() -> None:
    code = (
        "import trader.broker.ibkr.client as wire\n"
        "import ib_insync, numpy\n"
        "print(ib_insync.Client is wire.Client, type(ib_insync.IB().client) is wire.Client, numpy.ones(2).sum())"
    )
    assert run(code) == "True True 2.0"


def test_a_library_that_is_imported_already_is_used() -> None:
    assert (
        run("import ib_insync, trader.broker.ibkr.client as wire; print(ib_insync.Client is wire.Client)") == "True"
    )


def test_the_stand_in_imports_the_real_module_when_used() -> None:
    code = (
        "import sys\n"
        "from trader.startup import parts_of\n"
        "with parts_of('xml', without='fractions'):\n"
        "    import fractions\n"
        "print('fractions' in sys.modules, fractions.Fraction(1, 2), 'fractions' in sys.modules)"
    )
    assert run(code) == "False 1/2 True"
