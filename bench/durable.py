"""One durable event: the journal against its floor and its peers, all with the same event and encoder."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from bench.cases import EVENT, state_of
from bench.measure import Call, Method, PeerMissingError, Row, interleave
from state.domain.recording import encode_event
from state.storage.codec import encode_state
from state.storage.files import Folder
from state.storage.journal import Journal
from state.storage.snapshot import SnapshotStore

GROUP = "a durable event, inline"
FLOOR = "pwrite + fdatasync, filled file"
JOURNAL = "journal"
SNAPSHOT = "whole snapshot per event"
CORE = "SQLAlchemy Core, WAL FULL"
SEGMENT_BYTES = 4 << 20
WARM_EVENTS = 1200
"""After this many events SQLite has checkpointed its write-ahead log once, and overwrites it from then on."""


def rows(folder: Path, rounds: int, calls: int) -> list[Row]:
    """The rows of the group: p50 of each method and its ratio to the floor; for the journal also to three peers."""
    methods = [
        Method(FLOOR, _floor),
        Method(JOURNAL, _journal),
        Method("sqlite3, WAL FULL", _sqlite),
        Method(CORE, _core),
        Method("SQLAlchemy ORM, WAL FULL", _orm),
        Method("Redis, appendfsync always", _redis),
        Method("diskcache, synchronous FULL", _diskcache),
        Method(SNAPSHOT, _snapshot),
        Method("json.dump, temp, rename, no fsync (not durable)", _rename_only),
    ]
    found = interleave(methods, folder, rounds, calls)
    table = [
        Row(
            GROUP,
            method.name,
            _us(found.middle(method.name)),
            "µs",
            FLOOR,
            found.ratio(method.name, FLOOR),
            note=found.note(method.name),
        )
        for method in methods
    ]
    table[1].target = 1.15
    for peer, target in ((CORE, 0.5), (SNAPSHOT, 0.25), ("sqlite3, WAL FULL", None)):
        table.append(
            Row(GROUP, JOURNAL, _us(found.middle(JOURNAL)), "µs", peer, found.ratio(JOURNAL, peer), target)
        )
    return table


def _us(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e6


@contextmanager
def _floor(folder: Path) -> Iterator[Call]:
    line = b"x" * (len(encode_event(EVENT)) + 130) + b"\n"
    file = os.open(folder / "filled", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(file, b"\n" * SEGMENT_BYTES)
    os.fsync(file)
    places = count(0, len(line))

    def once() -> None:
        os.pwrite(file, line, next(places) % (SEGMENT_BYTES - len(line)))
        os.fdatasync(file)

    yield once
    os.close(file)


@contextmanager
def _journal(folder: Path) -> Iterator[Call]:
    with Folder.open(folder) as opened:
        journal = Journal.open(opened, snapshot_sequence=0, clock=_now, loop=None)
        kind = EVENT.kind()
        yield lambda: journal.append_durable_blocking(kind, encode_event(EVENT))
        journal.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def _sqlite(folder: Path) -> Iterator[Call]:
    with closing(sqlite3.connect(folder / "events.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, time TEXT, type TEXT, data BLOB)")
        insert = "INSERT INTO events (time, type, data) VALUES (?, ?, ?)"

        def once() -> None:
            db.execute(insert, (_now(), EVENT.kind(), encode_event(EVENT)))

        _warm(once, lambda level: db.execute(f"PRAGMA synchronous={level}"))
        yield once


def _warm(once: Call, synchronous: Callable[[str], object]) -> None:
    synchronous("OFF")
    for _ in range(WARM_EVENTS):
        once()
    synchronous("FULL")


def _peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PeerMissingError(f"{name} is not installed: make bench installs it") from error


def _engine(folder: Path) -> Any:
    alchemy = _peer("sqlalchemy")
    engine = alchemy.create_engine(f"sqlite:///{folder}/events.db")

    def use_wal(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")

    alchemy.event.listen(engine, "connect", use_wal)
    return engine


def _pragma(connection: Any, level: str) -> None:
    connection.connection.driver_connection.execute(f"PRAGMA synchronous={level}")


def _set_level(session: Any, level: str) -> None:
    """Set the level on the session's connection, outside a transaction, because SQLite ignores it within one."""
    _pragma(session.connection(), level)
    session.commit()


def _columns(alchemy: Any) -> list[Any]:
    return [
        alchemy.Column("id", alchemy.Integer, primary_key=True),
        alchemy.Column("time", alchemy.String),
        alchemy.Column("type", alchemy.String),
        alchemy.Column("data", alchemy.LargeBinary),
    ]


@contextmanager
def _core(folder: Path) -> Iterator[Call]:
    alchemy = _peer("sqlalchemy")
    engine = _engine(folder)
    events = alchemy.Table("events", alchemy.MetaData(), *_columns(alchemy))
    events.create(engine)
    with engine.connect() as connection:

        def once() -> None:
            connection.execute(events.insert().values(time=_now(), type=EVENT.kind(), data=encode_event(EVENT)))
            connection.commit()

        _warm(once, lambda level: _pragma(connection, level))
        yield once
    engine.dispose()


@contextmanager
def _orm(folder: Path) -> Iterator[Call]:
    alchemy, orm = _peer("sqlalchemy"), _peer("sqlalchemy.orm")
    engine = _engine(folder)
    mapped: Any = type("Stored", (), {})
    registry = orm.registry()
    table = alchemy.Table("events", registry.metadata, *_columns(alchemy))
    registry.map_imperatively(mapped, table)
    table.create(engine)
    with orm.Session(engine) as session:

        def once() -> None:
            row = mapped()
            row.time, row.type, row.data = _now(), EVENT.kind(), encode_event(EVENT)
            session.add(row)
            session.commit()

        _warm(once, lambda level: _set_level(session, level))
        yield once
    engine.dispose()


@contextmanager
def _redis(folder: Path) -> Iterator[Call]:
    redis = _peer("redis")
    if shutil.which("redis-server") is None:
        raise PeerMissingError("redis-server is not installed")
    where = str(folder / "socket")
    server = subprocess.Popen(
        [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            where,
            "--dir",
            str(folder),
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for_socket(where)
        client = redis.Redis(unix_socket_path=where)
        yield lambda: client.rpush("events", encode_event(EVENT))
        client.close()
    finally:
        server.terminate()
        server.wait()


def _wait_for_socket(path: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                return
        time.sleep(0.02)
    raise PeerMissingError("redis-server did not start")


@contextmanager
def _diskcache(folder: Path) -> Iterator[Call]:
    cache = _peer("diskcache").Cache(str(folder))
    keys = count()

    def once() -> None:
        cache.set(next(keys), encode_event(EVENT))

    _warm(once, lambda level: cache.reset("sqlite_synchronous", {"OFF": 0, "FULL": 2}[level]))
    yield once
    cache.close()


@contextmanager
def _snapshot(folder: Path) -> Iterator[Call]:
    state = state_of(5)
    with Folder.open(folder) as opened:
        store = SnapshotStore(opened)
        store.mark_main_valid(valid=True)
        yield lambda: store.write(encode_state(state, datetime.now(UTC)), lambda _: None)


@contextmanager
def _rename_only(folder: Path) -> Iterator[Call]:
    plain = json.loads(encode_state(state_of(5), datetime.now(UTC)))

    def once() -> None:
        with (folder / "state.tmp").open("w") as file:
            json.dump(plain, file, indent=2)
        (folder / "state.tmp").rename(folder / "state.json")

    yield once
