"""Runs one task for many jobs on all cores, in worker processes that share no state."""

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
    """A job raised. The text is its traceback, because not every exception can be pickled."""


def cores() -> int:
    """The number of cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


def spread(task: Callable[[Job], Answer], jobs: Sequence[Job], workers: int | None = None) -> Iterator[Answer]:
    """Yield the answers in the order of the jobs. Raises JobFailedError if a job raises."""
    count = min(workers or cores(), len(jobs))
    if count <= 1:
        yield from map(task, jobs)
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield from pool.map(partial(_with_traceback, task), jobs)


def _with_traceback(task: Callable[[Job], Answer], job: Job) -> Answer:
    logging.disable(logging.CRITICAL)  # the faults provoke errors, and the program logs them
    try:
        return task(job)
    except Exception:  # noqa: BLE001 - the parent reports any exception
        raise JobFailedError(traceback.format_exc()) from None
