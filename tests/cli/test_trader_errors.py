"""The exceptions: each is a TraderError, and the module's docstring lists it with its exit code."""

import re

import pytest

import trader.errors as module
from state.errors import TraderError

KINDS = [
    kind
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, TraderError) and kind is not TraderError
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_lists_each_with_its_exit_code(kind: type[TraderError]) -> None:
    line = re.search(rf"── {kind.__name__}\b +(\d)?", module.__doc__ or "")
    assert line is not None
    if line[1] is None:  # it inherits its parent's
        parent = kind.__mro__[1]
        assert issubclass(parent, TraderError)
        assert kind.exit_code == parent.exit_code
    else:
        assert kind.exit_code == int(line[1])


@pytest.mark.parametrize("kind", KINDS)
def test_each_has_what_happened_and_what_to_do(kind: type[TraderError]) -> None:
    error = kind("It broke.", "Repair it.")
    assert (error.what, error.hint, str(error)) == ("It broke.", "Repair it.", "It broke. Repair it.")
