"""Reads and checks the settings. Flags override the environment, which overrides `trader.toml`, then defaults.

| source | a key is written | a relative path is relative to |
|---|---|---|
| flags (`overrides`) | `"files.logs_dir"` | the current folder, as in any shell |
| environment | `TRADER_FILES_LOGS_DIR` | the current folder |
| `trader.toml` | `[files]` `logs_dir = …` | the file's folder |
| defaults | none | the project's folder |

It imports nothing that is slow to import, since every command reads the settings.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from trader.config.checks import check_together
from trader.config.sections import (
    Config,
    EntryRules,
    ExitRules,
    FileSettings,
    GatewaySettings,
    MarketRules,
    RiskRules,
    SizeRules,
    UniverseRules,
)
from trader.errors import ConfigError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
ENV_PREFIX = "TRADER_"
CONFIG_LIMIT_BYTES = 1024 * 1024
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "gateway": GatewaySettings,
    "files": FileSettings,
    "universe": UniverseRules,
    "market": MarketRules,
    "entry": EntryRules,
    "size": SizeRules,
    "exit": ExitRules,
    "risk": RiskRules,
}
KEYS = {f"{section}.{key}": section for section, kind in SECTIONS.items() for key in kind.__struct_fields__}


LIVE = "gateway.live"  # invariant 15: only a flag may set it, so it has to be given at each start


class _Given(msgspec.Struct, frozen=True):
    """One value as its source gives it."""

    value: object
    where: str  # its place, for errors
    base: Path  # the folder of a relative path
    typed: bool = False  # TOML has types; in the other sources text may mean a number


def load_config(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """The checked settings.

    `path`: the trader.toml to read; None: the one in the project's folder, if there is one.
    `overrides`: flags by dotted key (`{"gateway.endpoint": "127.0.0.1:7497"}`); None: the flag was not given.

    Raises ConfigError for an unknown section or key (with the nearest valid name), a wrong type, a value out of
    range, and settings that contradict each other.
    """
    found = path
    if found is None and (PROJECT_ROOT / "trader.toml").is_file():
        found = PROJECT_ROOT / "trader.toml"
    given: dict[str, _Given] = {}
    if found is not None:
        given.update(_from_file(found))
    given.update(_from_environment(environ))
    flags = _from_flags(overrides)
    given.update(flags)
    sections = {name: _section(name, kind, given) for name, kind in SECTIONS.items()}
    config = Config(**sections, source=found)  # type: ignore[arg-type]  # each value is its section's struct
    if config.gateway.live and LIVE not in flags:
        where = given[LIVE].where
        raise ConfigError(f"Real money is requested by {where}.", "Remove that, and give --live at each start.")
    check_together(config)
    return config


def _from_file(path: Path) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    base = path.absolute().parent
    for section, table in _read_toml(path).items():
        if section not in SECTIONS:
            raise _unknown("section", section, str(path), SECTIONS)
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section} is a single value.", f"Write it as a table, [{section}].")
        for key, value in table.items():
            if f"{section}.{key}" not in KEYS:
                raise _unknown(f"key in [{section}]", key, str(path), SECTIONS[section].__struct_fields__)
            given[f"{section}.{key}"] = _Given(value, f"{section}.{key} in {path}", base, typed=True)
    return given


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_LIMIT_BYTES + 1)
    except OSError as error:
        hint = "Give the right file with --config, or leave the flag out."
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint) from error
    if len(data) > CONFIG_LIMIT_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB.", "Give the right trader.toml with --config.")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", "Correct that place in the file.") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    """Variables named TRADER_SECTION_KEY. Other TRADER_ names are ignored, unless they look like a typing error."""
    names = {ENV_PREFIX + key.replace(".", "_").upper(): key for key in KEYS}
    given: dict[str, _Given] = {}
    for name, value in environ.items():
        if name in names:
            given[names[name]] = _Given(value, f"environment variable {name}", Path.cwd())
        elif name.startswith(ENV_PREFIX):
            section = name.removeprefix(ENV_PREFIX).partition("_")[0].lower()
            if section in SECTIONS or difflib.get_close_matches(name, names, n=1, cutoff=0.9):
                raise _unknown("environment variable", name, "the environment", names)
    return given


def _from_flags(overrides: Mapping[str, object]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for key, value in overrides.items():
        if value is None:
            continue
        if key not in KEYS:
            raise _unknown("setting", key, "the command line", KEYS)
        given[key] = _Given(value, f"{key} on the command line", Path.cwd())
    return given


def _unknown(kind: str, name: str, where: str, valid: Mapping[str, object] | tuple[str, ...]) -> ConfigError:
    nearest = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"Valid are: {', '.join(sorted(valid))}."
    return ConfigError(f"Unknown {kind} '{name}' in {where}.", hint)


def _section(name: str, kind: type[msgspec.Struct], given: Mapping[str, _Given]) -> msgspec.Struct:
    hints = get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for key in kind.__struct_fields__:
        entry = given.get(f"{name}.{key}")
        if entry is not None:
            values[key] = _convert(entry, hints[key])
    section = kind(**values)
    for key in kind.__struct_fields__:
        value = getattr(section, key)
        if isinstance(value, Path) and not value.is_absolute():  # a default; given paths are absolute already
            section = msgspec.structs.replace(section, **{key: PROJECT_ROOT / value})
    return section


def _convert(given: _Given, kind: Any) -> Any:
    """One value in its setting's type. Text of flags and of the environment is converted first."""
    value = given.value
    wants = str(kind)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{given.where} is {value}.", "Give an ordinary number.")
    if isinstance(value, str):
        value = _from_text(value.strip(), wants, given)
    if isinstance(value, Path):
        return given.base / value.expanduser()
    try:
        result = msgspec.convert(value, kind, strict=given.typed or not isinstance(value, str))
    except msgspec.ValidationError as error:
        message = f"{given.where} is {given.value!r}: {error}."
        raise ConfigError(message, "See the comments in trader.toml for valid values.") from error
    if isinstance(result, float) and not math.isfinite(result):
        raise ConfigError(f"{given.where} is {given.value!r}.", "Give an ordinary number.")
    return result


def _from_text(text: str, wants: str, given: _Given) -> object:
    """Text as a value that msgspec can check: an empty optional is None, a list is split at commas."""
    if "None" in wants and not text:
        return None
    if "Path" in wants:
        return Path(text)
    if "tuple" in wants:
        return [part.strip().upper() for part in text.split(",") if part.strip()]
    try:
        if "datetime.time" in wants:
            return time.fromisoformat(text)
        if "datetime.date" in wants:
            return date.fromisoformat(text)
    except ValueError as error:
        hint = "Write a time as 09:45 and a date as 2025-10-06."
        raise ConfigError(f"{given.where} is {given.value!r}: {error}.", hint) from error
    return text
