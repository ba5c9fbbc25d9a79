"""pyproject.toml, requirements.txt and the Makefile agree on what the project needs and offers."""

import importlib
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(name: str) -> list[str]:
    """The packages of a requirements file, each with its version."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


def test_pyproject_has_the_pins_of_requirements() -> None:
    project = PROJECT["project"]
    assert project["dependencies"] + project["optional-dependencies"]["test"] == pins("requirements.txt")


def test_every_package_is_pinned_once() -> None:
    packages = pins("requirements.txt") + pins("requirements-dev.txt")
    assert [line for line in packages if not re.fullmatch(r"[\w-]+==[\d.]+", line)] == []
    names = [line.partition("==")[0].lower() for line in packages]
    assert sorted(set(names)) == sorted(names)


def test_pytest_needs_nothing_beyond_requirements() -> None:
    """Every pytest plugin whose options pyproject.toml sets is in requirements.txt."""
    options = PROJECT["tool"]["pytest"]["ini_options"]
    assert "timeout" in options
    assert any(line.startswith("pytest-timeout==") for line in pins("requirements.txt"))


def test_the_installed_command_is_a_function() -> None:
    ((name, target),) = PROJECT["project"]["scripts"].items()
    module, _, function = target.partition(":")
    assert name == "crash-safe-trader"
    assert callable(getattr(importlib.import_module(module), function))


def test_every_package_of_the_program_is_installed() -> None:
    """The folders beside trader.py that hold a program, without the tools that need the source tree."""
    included = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert included == packages - {"bench", "crashlab"}


def test_no_make_target_is_taken_for_a_file() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert set(phony.split()) == targets
