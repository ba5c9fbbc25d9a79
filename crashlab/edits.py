"""Small changes of Python source, each a value that finds its place by structure and not by text.

An edit looks through one function for the statement or expression that it changes: a call by its name, a condition
by the names in it, an assignment by its target. Reformatting the function, moving the statement within it or
renaming other variables does not break the edit. `apply` writes the changed module with `ast.unparse`.

Names are written as in the source: `sync_fd`, or with as much of the dotted path as tells it from others
(`folder.sync` finds `self.folder.sync(...)`, too).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

Node = TypeVar("Node", bound=ast.AST)
Replacement = ast.expr | list[ast.stmt]
Change = tuple[ast.AST, Replacement]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
JOINING = (ast.BitOr, ast.Add)


class EditError(Exception):
    """The function is not there, or the edit does not find exactly one place in it."""


@dataclass(frozen=True, slots=True)
class Function:
    """Where to look. file: relative to the tree; name: `function` or `Class.method`."""

    file: str
    name: str


class Edit(Protocol):
    """One kind of change."""

    def changes(self, function: FunctionNode) -> list[Change]:
        """Each place in the function where the edit fits: the node, and what takes its place."""


def apply(where: Function, edit: Edit, tree: Path) -> None:
    """Change the file below `tree`. Raises EditError."""
    path = tree / where.file
    if not path.is_file():
        raise EditError(f"there is no file {where.file}")
    module = ast.parse(path.read_text(encoding="utf-8"))
    found = edit.changes(_function(module, where))
    if len(found) != 1:
        raise EditError(f"{edit} fits {len(found)} places in {where.file}, {where.name}, not one")
    _Replacer(*found[0]).visit(module)
    path.write_text(ast.unparse(ast.fix_missing_locations(module)) + "\n", encoding="utf-8")


# The kinds of edit


@dataclass(frozen=True, slots=True)
class RemoveCall:
    """The statement that consists of this call (awaited or not, or added by `+=`) becomes `pass`."""

    call: str

    def changes(self, function: FunctionNode) -> list[Change]:
        statements = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.Expr | ast.AugAssign) and _is_call(_without_await(node.value), self.call)
        ]
        return [(node, [ast.Pass()]) for node in statements]


@dataclass(frozen=True, slots=True)
class ReplaceCall:
    """The call, with its `await` if it has one, becomes `by`.

    In `by`, {0}, {1} … are the positional arguments, {receiver} is what the method is called on, {call} the call.
    """

    call: str
    by: str

    def changes(self, function: FunctionNode) -> list[Change]:
        awaited = {node.value: node for node in _all(function, ast.Await)}
        return [(awaited.get(call, call), _expression(self._filled(call))) for call in _calls(function, self.call)]

    def _filled(self, call: ast.Call) -> str:
        receiver = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        arguments = [ast.unparse(argument) for argument in call.args]
        return self.by.format(*arguments, receiver=receiver, call=ast.unparse(call))


@dataclass(frozen=True, slots=True)
class ReplaceArgument:
    """One argument of the call becomes `by`. which: its position or its keyword."""

    call: str
    which: int | str
    by: str

    def changes(self, function: FunctionNode) -> list[Change]:
        new = _expression(self.by)
        if isinstance(self.which, int):
            calls = [call for call in _calls(function, self.call) if len(call.args) > self.which]
            return [(call.args[self.which], new) for call in calls]
        keywords = [keyword for call in _calls(function, self.call) for keyword in call.keywords]
        return [(keyword.value, new) for keyword in keywords if keyword.arg == self.which]


@dataclass(frozen=True, slots=True)
class ReplaceCondition:
    """The test of an `if`, `elif` or `while` statement in which all of `names` occur becomes `by`."""

    names: str
    by: str

    def changes(self, function: FunctionNode) -> list[Change]:
        tests = [node.test for node in ast.walk(function) if isinstance(node, ast.If | ast.While)]
        return [(test, _expression(self.by)) for test in tests if _mentions(test, self.names)]


@dataclass(frozen=True, slots=True)
class ReplaceFilter:
    """The `if` of a comprehension in which all of `names` occur becomes `by`."""

    names: str
    by: str

    def changes(self, function: FunctionNode) -> list[Change]:
        tests = [test for node in _all(function, ast.comprehension) for test in node.ifs]
        return [(test, _expression(self.by)) for test in tests if _mentions(test, self.names)]


@dataclass(frozen=True, slots=True)
class RemoveOperand:
    """The operand of `and`, `or`, `|` or `+` in which all of `names` occur is removed; of nested ones the inner."""

    names: str

    def changes(self, function: FunctionNode) -> list[Change]:
        return [change for node in ast.walk(function) for change in self._without(node)]

    def _without(self, node: ast.AST) -> Iterator[Change]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, JOINING):
            for operand, other in ((node.left, node.right), (node.right, node.left)):
                if self._fits(operand):
                    yield node, other
        elif isinstance(node, ast.BoolOp):
            for operand in node.values:
                if self._fits(operand):
                    others = [other for other in node.values if other is not operand]
                    yield node, others[0] if len(others) == 1 else ast.BoolOp(node.op, others)

    def _fits(self, operand: ast.expr) -> bool:
        inside = (change for node in ast.walk(operand) for change in self._without(node))
        return _mentions(operand, self.names) and next(inside, None) is None


@dataclass(frozen=True, slots=True)
class ReplaceAssigned:
    """What is assigned to `target` becomes `by`."""

    target: str
    by: str

    def changes(self, function: FunctionNode) -> list[Change]:
        assignments = [node for node in _all(function, ast.Assign) if _is_named(node.targets[0], self.target)]
        return [(node.value, _expression(self.by)) for node in assignments]


@dataclass(frozen=True, slots=True)
class ReplaceRaise:
    """The `raise` of this error becomes the statements `by`."""

    error: str
    by: str

    def changes(self, function: FunctionNode) -> list[Change]:
        raises = [node for node in _all(function, ast.Raise) if _is_call(node.exc, self.error)]
        return [(node, ast.parse(self.by).body) for node in raises]


@dataclass(frozen=True, slots=True)
class InsertBefore:
    """The statements `source` come before the statement with this call."""

    call: str
    source: str

    def changes(self, function: FunctionNode) -> list[Change]:
        calls = set(_calls(function, self.call))
        simple = [node for node in _all(function, ast.stmt) if not hasattr(node, "body")]
        found = [node for node in simple if calls & set(_all(node, ast.Call))]
        return [(node, [*ast.parse(self.source).body, node]) for node in found]


# Finding and replacing nodes


class _Replacer(ast.NodeTransformer):
    """Puts `new` in the place of the node `old`, known by identity."""

    def __init__(self, old: ast.AST, new: Replacement) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt]:
        if node is self._old:
            return self._new
        found: ast.AST = self.generic_visit(node)
        return found


def _function(module: ast.Module, where: Function) -> FunctionNode:
    scope: ast.Module | ast.ClassDef = module
    *classes, name = where.name.split(".")
    for part in classes:
        scope = _only([node for node in scope.body if isinstance(node, ast.ClassDef) and node.name == part], where)
    return _only([node for node in scope.body if isinstance(node, FunctionNode) and node.name == name], where)


def _only(nodes: list[Node], where: Function) -> Node:
    if len(nodes) != 1:
        raise EditError(f"{where.name} is defined {len(nodes)} times in {where.file}")
    return nodes[0]


def _all(node: ast.AST, kind: type[Node]) -> list[Node]:
    return [found for found in ast.walk(node) if isinstance(found, kind)]


def _calls(node: ast.AST, name: str) -> list[ast.Call]:
    return [call for call in _all(node, ast.Call) if _is_call(call, name)]


def _is_call(node: ast.AST | None, name: str) -> bool:
    return isinstance(node, ast.Call) and _is_named(node.func, name)


def _is_named(node: ast.expr, name: str) -> bool:
    """Whether the dotted name is `name`, or ends with it."""
    return f".{_dotted(node)}".endswith(f".{name}")


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _mentions(node: ast.expr, names: str) -> bool:
    """Whether each of the names, separated by blanks, is a variable or an attribute somewhere in the expression."""
    found = {name.id for name in _all(node, ast.Name)} | {attribute.attr for attribute in _all(node, ast.Attribute)}
    return set(names.split()) <= found


def _without_await(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Await) else node


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body
