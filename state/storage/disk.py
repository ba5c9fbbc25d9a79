"""The system calls that change something on disk, and no others.

The trader uses `Disk` itself. The crash lab passes a subclass that refuses, shortens or records calls, or kills the
process at the n-th one. As every change passes through here in order, a recording is enough to build each state
that a crash may leave on disk. Reading is not part of it.

Each method is one system call. Names are relative to an open folder (`dir_fd`), so that renaming or replacing a
folder while the trader runs cannot redirect a write. Errors are plain OSError; the callers turn them into the
project's own.
"""

import os

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class Disk:
    """The real system calls. Stateless: one instance may serve any number of folders and threads."""

    def create(self, name: str, dir_fd: int) -> int:
        """Create a file that must not exist yet; a planted symlink of that name is an error."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, FILE_MODE, dir_fd=dir_fd)

    def open_existing(self, name: str, dir_fd: int) -> int:
        """Open a file for writing in place, without creating, truncating or following a link."""
        return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset; may write less than was given, and returns how much."""
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        """Bring a file's content to the disk, with the metadata that reading it back needs."""
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        """Bring a file, or the names inside a folder, to the disk."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def mkdir(self, name: str, dir_fd: int) -> None:
        os.mkdir(name, FOLDER_MODE, dir_fd=dir_fd)

    def link(self, source: str, target: str, dir_fd: int) -> None:
        """Give a file a second name inside one folder; an existing target is an error."""
        os.link(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)

    def rename(self, source: str, target: str, source_fd: int, target_fd: int) -> None:
        """Move a name, replacing the target in one step."""
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)

    def unlink(self, name: str, dir_fd: int) -> None:
        os.unlink(name, dir_fd=dir_fd)


def write_all(disk: Disk, fd: int, data: bytes, offset: int) -> None:
    """Write every byte at `offset`, going on after short writes. OSError when the kernel refuses."""
    done = disk.pwrite(fd, data, offset)  # nearly always all of it
    while done < len(data):
        written = disk.pwrite(fd, memoryview(data)[done:], offset + done)
        if written <= 0:
            raise OSError(0, "the kernel wrote nothing and gave no reason")
        done += written
