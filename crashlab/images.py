"""Every state of the disk that POSIX allows after a power loss, computed from recorded operations. Pure.

A crash can come before or after each operation. Whatever was not flushed by then may be on the disk or not:
- each pending change of a folder's names, in any order;
- each pending write: lost, complete, torn at each byte, or some of its sectors; if it made the file longer, also
  the length without the data (zeros).
All combinations are built, with at most one torn write in each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeVar

from crashlab.recording import Acked, Named, Operation, Synced, Tree, Wrote, apply_names

Pending = TypeVar("Pending", Named, Wrote)
SECTOR_BYTES = 512
SECTORS_FREE = 5  # writes of at most this many sectors: every combination of lost and kept sectors
COMBINED_MAX = 6  # at most this many pending changes: every combination; for more, the likely and the worst ones


@dataclass(frozen=True, slots=True)
class Image:
    """One possible disk. acked: what was acknowledged by then. done: the number of operations carried out."""

    tree: Tree
    acked: Acked
    done: int


def images(start: Tree, operations: Sequence[Operation], step_bytes: int = 1, since: int = 0) -> Iterator[Image]:
    """Each state once, in the order of the operations.

    step_bytes: distance between the places where a write is torn. since: only crashes after this many operations.
    """
    seen: set[int] = set()
    for done in range(since, len(operations) + 1):
        if done and isinstance(operations[done - 1], Acked | Synced):
            continue  # these only rule states out; the new acknowledgement counts from the next operation on
        acked = _acked(operations, done)
        for tree in _after(start, operations[:done], step_bytes):
            key = hash((acked, tuple(sorted(tree.paths().items()))))
            if key not in seen:
                seen.add(key)
                yield Image(tree, acked, done)
    final = _acked(operations, len(operations))
    for tree in _after(start, operations, step_bytes):
        key = hash((final, tuple(sorted(tree.paths().items()))))
        if key not in seen:
            seen.add(key)
            yield Image(tree, final, len(operations))


def _acked(operations: Sequence[Operation], done: int) -> Acked:
    """What was acknowledged after `done` operations."""
    sequence, saved = 0, False
    for operation in operations[:done]:
        if isinstance(operation, Acked):
            sequence, saved = max(sequence, operation.sequence), saved or operation.saved
    return Acked(sequence, saved)


def _after(start: Tree, operations: Sequence[Operation], step_bytes: int) -> Iterator[Tree]:
    base = start.copy()
    last_sync = {operation.node: at for at, operation in enumerate(operations) if isinstance(operation, Synced)}
    names: list[Named] = []
    writes: dict[int, list[Wrote]] = {}
    for at, operation in enumerate(operations):
        if isinstance(operation, Named):
            for _, node in operation.changes:
                if node is not None and operation.made_folder:
                    base.names.setdefault(node, {})
                elif node is not None:
                    base.files.setdefault(node, b"")
            if at < last_sync.get(operation.folder, -1):
                apply_names(base, operation)
            else:
                names.append(operation)
        elif isinstance(operation, Wrote):
            if at < last_sync.get(operation.node, -1):
                base.files[operation.node] = overlay(base.files.get(operation.node, b""), operation)
            else:
                writes.setdefault(operation.node, []).append(operation)
    for trees in _name_choices(base, names):
        yield from _content_choices(trees, writes, step_bytes)


def _name_choices(base: Tree, pending: list[Named]) -> Iterator[Tree]:
    for chosen in _some_of(pending):
        tree = base.copy()
        for operation in chosen:
            apply_names(tree, operation)
        yield tree


def _some_of(pending: Sequence[Pending]) -> Iterator[tuple[Pending, ...]]:
    """What may have reached the disk: every combination; of many changes, each prefix, and all but one."""
    if len(pending) <= COMBINED_MAX:
        for count in range(len(pending) + 1):
            yield from combinations(pending, count)
        return
    for count in range(len(pending) + 1):
        yield tuple(pending[:count])
        yield tuple(one for at, one in enumerate(pending) if at != count)


def _content_choices(tree: Tree, writes: dict[int, list[Wrote]], step_bytes: int) -> Iterator[Tree]:
    reachable = {node for names in tree.names.values() for node in names.values()}
    pending = [node for node in writes if node in reachable]
    plain = {node: list(_whole_or_lost(tree.files.get(node, b""), writes[node])) for node in pending}
    for chosen in product(*(plain[node] for node in pending)):
        yield _with(tree, dict(zip(pending, chosen, strict=True)))
    for node in pending:  # then one of them torn, with each combination of the others
        others = [other for other in pending if other != node]
        for chosen in product(*(plain[other] for other in others)):
            for content in _torn(tree.files.get(node, b""), writes[node], step_bytes):
                yield _with(tree, dict(zip(others, chosen, strict=True)) | {node: content})


def _with(tree: Tree, contents: dict[int, bytes]) -> Tree:
    return Tree(tree.names, {**tree.files, **contents})


def _whole_or_lost(content: bytes, writes: list[Wrote]) -> Iterator[bytes]:
    for chosen in _some_of(writes):
        made = content
        for write in chosen:
            made = overlay(made, write)
        yield made


def _torn(content: bytes, writes: list[Wrote], step_bytes: int) -> Iterator[bytes]:
    """The last write torn in every way, with all or none of the writes before it."""
    before = content
    for write in writes[:-1]:
        before = overlay(before, write)
    for base in dict.fromkeys((content, before)):
        yield from torn(base, writes[-1], step_bytes)


def torn(base: bytes, write: Wrote, step_bytes: int = 1) -> Iterator[bytes]:
    """The contents that one torn write can leave. Filling (newlines) is torn at sectors only."""
    data, offset = write.data, write.offset
    meaningful = len(data.rstrip(b"\n")) + 1
    for cut in (*range(0, min(meaningful, len(data)), step_bytes), *range(meaningful, len(data), SECTOR_BYTES)):
        yield overlay(base, Wrote(write.node, offset, data[:cut]))
    sectors = [
        (at, data[max(at, offset) - offset : at + SECTOR_BYTES - offset])
        for at in range(offset - offset % SECTOR_BYTES, offset + len(data), SECTOR_BYTES)
    ]
    if len(sectors) <= SECTORS_FREE:
        for kept in product((False, True), repeat=len(sectors)):
            made = base
            for (at, piece), keep in zip(sectors, kept, strict=True):
                if keep:
                    made = overlay(made, Wrote(write.node, max(at, offset), piece))
            yield made
    if (longer := offset + len(data)) > len(base):
        for cut in (0, len(data) // 2):
            made = overlay(base, Wrote(write.node, offset, data[:cut]))
            yield made + b"\0" * (longer - len(made))


def overlay(content: bytes, write: Wrote) -> bytes:
    """The content after a write. A gap before it reads as zeros."""
    if len(content) < write.offset:
        content += b"\0" * (write.offset - len(content))
    return content[: write.offset] + write.data + content[write.offset + len(write.data) :]


def carried_out(start: Tree, operations: Sequence[Operation]) -> Tree:
    """The files after the operations without a power loss: what a program that was killed and restarted reads."""
    tree = start.copy()
    for operation in operations:
        if isinstance(operation, Named):
            for _, node in operation.changes:
                if node is not None and operation.made_folder:
                    tree.names.setdefault(node, {})
                elif node is not None:
                    tree.files.setdefault(node, b"")
            apply_names(tree, operation)
        elif isinstance(operation, Wrote):
            tree.files[operation.node] = overlay(tree.files.get(operation.node, b""), operation)
    return tree
