"""Imports a few modules of a package without what the package pulls in besides: every restart pays for that.

ib_insync's `__init__` imports its blocking API, Flex reports with an HTTP client, and through eventkit's array
operators numpy: half of its import, and none of it is used here. The modules themselves are the real ones, and
afterwards both names are as if nothing had happened, so that whoever imports the whole package gets it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def parts_of(package: str, without: str) -> Iterator[None]:
    """Inside, `from package.module import name` runs that module but not the package's `__init__`.

    `without`: a module that gets a stand-in meanwhile, which imports the real one when it is first used. What has
    been imported already stays as it is.
    """
    bare = _without_init(package) if package not in sys.modules else None
    stand_in = _StandIn(without) if without not in sys.modules else None
    meanwhile: dict[str, ModuleType | None] = {package: bare, without: stand_in}
    for name, module in meanwhile.items():
        if module is not None:
            sys.modules[name] = module
    try:
        yield
    finally:
        for name, module in meanwhile.items():
            if module is not None and sys.modules.get(name) is module:
                del sys.modules[name]


def _without_init(package: str) -> ModuleType | None:
    spec = importlib.util.find_spec(package)
    return importlib.util.module_from_spec(spec) if spec is not None else None


class _StandIn(ModuleType):
    """Has nothing of its own; asks the real module for every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)
