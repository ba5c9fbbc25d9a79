"""A real `Disk` that records its operations, so that every state that a crash can leave can be built.

Files and folders have numbers given by the recorder. `Named` changes names, `Wrote` changes contents, `Synced`
says that a file's content, or a folder's names, reached the disk. `Acked` is recorded by the program that is run,
and says what it has acknowledged by then.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from state.storage.disk import Disk

Changes = tuple[tuple[str, int | None], ...]
TOP = 0  # the number of the recorded folder itself


@dataclass(frozen=True, slots=True)
class Named:
    """One atomic change of a folder's names. changes: name and the new file or folder; None if it is removed."""

    folder: int
    changes: Changes
    made_folder: bool = False


@dataclass(frozen=True, slots=True)
class Wrote:
    node: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    node: int


@dataclass(frozen=True, slots=True)
class Acked:
    """Everything up to `sequence` is acknowledged as durable. saved: so is at least one snapshot."""

    sequence: int
    saved: bool = False


Operation = Named | Wrote | Synced | Acked


@dataclass
class Tree:
    """The contents of a disk: the names in each folder, the content of each file."""

    names: dict[int, dict[str, int]] = field(default_factory=lambda: {TOP: {}})
    files: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> Tree:
        return Tree({node: dict(names) for node, names in self.names.items()}, dict(self.files))

    def paths(self) -> dict[str, bytes | None]:
        """Every reachable path and its content; None for a folder."""
        found: dict[str, bytes | None] = {}
        waiting = [(TOP, "")]
        while waiting:
            folder, prefix = waiting.pop()
            for name, node in self.names[folder].items():
                path = prefix + name
                if node in self.names:
                    found[path] = None
                    waiting.append((node, path + "/"))
                else:
                    found[path] = self.files.get(node, b"")
        return found

    @classmethod
    def of(cls, paths: dict[str, bytes | None]) -> Tree:
        """The tree with these paths."""
        tree, numbers = cls(), {"": TOP}
        for number, path in enumerate(sorted(paths), 1):
            folder, _, name = path.rpartition("/")
            numbers[path] = number
            tree.names[numbers[folder]][name] = number
            content = paths[path]
            if content is None:
                tree.names[number] = {}
            else:
                tree.files[number] = content
        return tree


class AcknowledgingDisk(Disk):
    """A disk that the program also tells what it has acknowledged."""

    def acknowledge(self, sequence: int, *, saved: bool) -> None:
        """From now on everything up to `sequence` must survive a crash. saved: so must a snapshot."""
        raise NotImplementedError


class RecordingDisk(AcknowledgingDisk):
    """A real disk that records all operations below `root`, of all threads, in their order.

    sync_takes_s: duration of each flush of a file, so that code that does not wait for it is found.
    """

    def __init__(self, root: Path, start: Tree | None = None, sync_takes_s: float = 0.0) -> None:
        self.operations: list[Operation] = []
        self._lock = threading.RLock()
        self._tree = (start or Tree()).copy()
        self._root = str(root)
        self._open: dict[int, int] = {}
        self._next = 1 + max([TOP, *self._tree.files, *self._tree.names])
        self._sync_takes_s = sync_takes_s

    def acknowledge(self, sequence: int, *, saved: bool) -> None:
        with self._lock:
            self.operations.append(Acked(sequence, saved))

    def create(self, name: str, dir_fd: int) -> int:
        with self._lock:
            fd = super().create(name, dir_fd)
            self._open[fd] = self._new()
            self._tree.files[self._open[fd]] = b""
            self._rename(self._folder(dir_fd), ((name, self._open[fd]),))
            return fd

    def open_existing(self, name: str, dir_fd: int) -> int:
        with self._lock:
            fd = super().open_existing(name, dir_fd)
            self._open[fd] = self._tree.names[self._folder(dir_fd)][name]
            return fd

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        with self._lock:
            written = super().pwrite(fd, data, offset)
            self.operations.append(Wrote(self._open[fd], offset, bytes(data[:written])))
            return written

    def fdatasync(self, fd: int) -> None:
        time.sleep(self._sync_takes_s)
        with self._lock:
            super().fdatasync(fd)
            self.operations.append(Synced(self._open[fd]))

    def fsync(self, fd: int) -> None:
        with self._lock:
            super().fsync(fd)
            node = self._open[fd] if fd in self._open else self._folder(fd)
            self.operations.append(Synced(node))

    def close(self, fd: int) -> None:
        with self._lock:
            self._open.pop(fd, None)
            super().close(fd)

    def mkdir(self, name: str, dir_fd: int) -> None:
        with self._lock:
            super().mkdir(name, dir_fd)
            node = self._new()
            self._tree.names[node] = {}
            self._rename(self._folder(dir_fd), ((name, node),), made_folder=True)

    def link(self, source: str, target: str, dir_fd: int) -> None:
        with self._lock:
            super().link(source, target, dir_fd)
            folder = self._folder(dir_fd)
            self._rename(folder, ((target, self._tree.names[folder][source]),))

    def rename(self, source: str, target: str, source_fd: int, target_fd: int) -> None:
        with self._lock:
            super().rename(source, target, source_fd, target_fd)
            before, after = self._folder(source_fd), self._folder(target_fd)
            node = self._tree.names[before][source]
            if before == after:
                self._rename(after, ((source, None), (target, node)))
            else:  # two folders: either change may reach the disk without the other
                self._rename(after, ((target, node),))
                self._rename(before, ((source, None),))

    def unlink(self, name: str, dir_fd: int) -> None:
        with self._lock:
            super().unlink(name, dir_fd)
            self._rename(self._folder(dir_fd), ((name, None),))

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _folder(self, fd: int) -> int:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        node = TOP
        for name in path.removeprefix(self._root).strip("/").split("/"):
            node = self._tree.names[node][name] if name else node
        return node

    def _rename(self, folder: int, changes: Changes, *, made_folder: bool = False) -> None:
        operation = Named(folder, changes, made_folder)
        apply_names(self._tree, operation)
        self.operations.append(operation)


def apply_names(tree: Tree, operation: Named) -> None:
    """Carry out one change of names."""
    names = tree.names.setdefault(operation.folder, {})
    for name, node in operation.changes:
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node
