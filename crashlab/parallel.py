"""One task over many jobs on all cores, each in a process of its own kind: no state is shared but the answers."""

from __future__ import annotations

import logging
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class JobFailedError(Exception):
    """A job raised; the text is its traceback (not every exception survives the way between processes)."""


def cores() -> int:
    """How many processes may work at once here."""
    return max(1, len(os.sched_getaffinity(0)))


def spread(task: Callable[[Job], Answer], jobs: Sequence[Job], workers: int | None = None) -> Iterator[Answer]:
    """The answers in the order of the jobs. JobFailedError if a job raises."""
    count = min(workers or cores(), len(jobs))
    if count <= 1:
        yield from map(task, jobs)
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield from pool.map(partial(_guarded, task), jobs)


def _guarded(task: Callable[[Job], Answer], job: Job) -> Answer:
    logging.disable(logging.CRITICAL)  # the program's own alarms, which are what the faults are for
    try:
        return task(job)
    except Exception:  # noqa: BLE001 - whatever it is, it is told by the parent
        raise JobFailedError(traceback.format_exc()) from None
