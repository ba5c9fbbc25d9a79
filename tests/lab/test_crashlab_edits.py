"""Edits find their place by structure: layout, order and other names do not matter, and it must be one place."""

import ast
from pathlib import Path

import pytest

from crashlab.edits import (
    Edit,
    EditError,
    Function,
    InsertBefore,
    RemoveCall,
    RemoveOperand,
    ReplaceArgument,
    ReplaceAssigned,
    ReplaceCall,
    ReplaceCondition,
    ReplaceFilter,
    ReplaceRaise,
    apply,
)

SOURCE = '''
class Store:
    async def save(self, data):
        """Write the data, and bring it to the disk."""
        size = len(data)
        if size > self.limit or not data:
            raise TooLargeError(size)
        elif self.closed:
            return
        await self.disk.write(data, 0, flags=self.READ | self.CREATE)
        self.count += self.disk.flush(data)
        self.kept = [row for row in data if row is not self.last]
'''
SAVE = Function("store.py", "Store.save")


def edited(tmp_path: Path, edit: Edit, source: str = SOURCE) -> str:
    """The source after the edit."""
    (tmp_path / "store.py").write_text(source)
    apply(SAVE, edit, tmp_path)
    return (tmp_path / "store.py").read_text()


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (RemoveCall("disk.write"), "await self.disk.write(data, 0, flags=self.READ | self.CREATE)", "pass"),
        (RemoveCall("flush"), "self.count += self.disk.flush(data)", "pass"),
        (
            ReplaceCall("write", "{receiver}.append({0})"),
            "await self.disk.write(data, 0, flags=self.READ | self.CREATE)",
            "self.disk.append(data)",
        ),
        (ReplaceCall("len", "{call} + 1"), "len(data)", "len(data) + 1"),
        (ReplaceArgument("write", 1, "7"), "data, 0", "data, 7"),
        (ReplaceArgument("write", "flags", "None"), "flags=self.READ | self.CREATE", "flags=None"),
        (ReplaceCondition("size", "False"), "if size > self.limit or not data:", "if False:"),
        (ReplaceCondition("closed", "True"), "elif self.closed:", "elif True:"),
        (ReplaceFilter("last", "True"), "if row is not self.last", "if True"),
        (RemoveOperand("limit"), "size > self.limit or not data", "not data"),
        (RemoveOperand("CREATE"), "self.READ | self.CREATE", "self.READ"),
        (ReplaceAssigned("size", "0"), "size = len(data)", "size = 0"),
        (ReplaceRaise("TooLargeError", "pass"), "raise TooLargeError(size)", "pass"),
        (InsertBefore("len", "data = data[1:]"), "        size =", "        data = data[1:]\n        size ="),
    ],
    ids=str,
)
def test_each_kind_of_edit_changes_its_place_and_nothing_else(
    tmp_path: Path, edit: Edit, old: str, new: str
) -> None:
    assert SOURCE.count(old) == 1
    assert edited(tmp_path, edit) == ast.unparse(ast.parse(SOURCE.replace(old, new))) + "\n"


def test_layout_order_and_other_names_do_not_matter(tmp_path: Path) -> None:
    moved = """
class Store:
    async def save(self, rows):
        self.count += (
            self.disk.flush(
                rows,
            )
        )
        await self.disk.write(rows, 0)  # a comment
"""
    found = edited(tmp_path, RemoveCall("disk.flush"), moved)
    assert found == ast.unparse(ast.parse(moved)).replace("self.count += self.disk.flush(rows)", "pass") + "\n"


@pytest.mark.parametrize(
    ("where", "edit", "why"),
    [
        (SAVE, RemoveCall("sync"), "fits 0 places in store.py, Store.save"),
        (SAVE, ReplaceCondition("row", "False"), "fits 0 places in store.py, Store.save"),
        (Function("store.py", "Store.load"), RemoveCall("flush"), "Store.load is defined 0 times"),
        (Function("store.py", "Other.save"), RemoveCall("flush"), "Other.save is defined 0 times"),
        (Function("other.py", "save"), RemoveCall("flush"), "there is no file other.py"),
    ],
    ids=str,
)
def test_a_place_that_is_not_there_is_an_error(tmp_path: Path, where: Function, edit: Edit, why: str) -> None:
    (tmp_path / "store.py").write_text(SOURCE)
    with pytest.raises(EditError, match=why):
        apply(where, edit, tmp_path)


def test_two_places_are_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "store.py").write_text(SOURCE + "        self.disk.flush(data)\n")
    before = (tmp_path / "store.py").read_text()
    with pytest.raises(EditError, match="fits 2 places"):
        apply(SAVE, RemoveCall("flush"), tmp_path)
    assert (tmp_path / "store.py").read_text() == before


def test_of_nested_operands_the_inner_one_is_removed(tmp_path: Path) -> None:
    nested = "class Store:\n    def save(self, a, b, c):\n        return a and (b or c.late)\n"
    assert "return a and b\n" in edited(tmp_path, RemoveOperand("late"), nested)
