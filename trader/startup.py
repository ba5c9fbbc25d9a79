"""What makes a start faster at the price of unusual code, each with what it saves as `make bench` measures it.

A trick that saves less than 15 ms of a restart is not kept.
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
    """Inside, `from package.module import name` runs that module but not the package's `__init__`. Saves 50 ms.

    `without`: a module that is replaced meanwhile by a stand-in, which imports the real one when it is first used.
    Afterwards `import package` and `import without` import the real ones. Modules that are imported already stay.

    It is for ib_insync: its `__init__` imports its blocking API, Flex reports with an HTTP client, and, through
    eventkit's array operators, numpy. That is half of its import, and the trader uses none of it.
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
    """An empty module that reads every attribute from the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)
