"""Bad files: no traceback, no wrong position, no lost file.

Each case damages files of a logs folder that holds a position, or the scanner file, or the configuration, and
starts the real reader on them. The reader may raise an error of the project, or read a state that was correct at
some earlier event. The damaged file must still exist afterwards: in its place, in quarantine/ or in archive/.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import stat
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from crashlab import damage
from crashlab.parallel import cores, spread
from crashlab.powerloss import ACCOUNT, DATE, GATEWAY, OPEN, History, scratch
from crashlab.report import ROOT, Tally
from crashlab.sample import SampleManager, write_sample
from state.domain.invariants import PRICE_MAX
from state.errors import TraderError
from state.storage.codec import decode_state
from trader.cli.commands.status import read_status
from trader.cli.status.view import describe
from trader.config.loader import load_config
from trader.config.sections import UniverseRules
from trader.runtime.scanner_file import load_setups

TARGETS = ("trader_state.json", "trader_state_backup.json", f"journal/{DATE}/segment-00000001.jsonl", "checkpoints")
SCAN = "scanner_results_20251006.json"


def fuzz(cases: int, seed: int) -> list[Tally]:
    """`cases` cases of each kind, drawn from the seed."""
    rows = []
    for name in CASES:
        tally = Tally(f"bad files: {name}")
        share = cores()
        with tally.timed():
            for part in spread(_some, [(name, seed, at, cases // share) for at in range(share)]):
                tally.add(part)
        rows.append(tally)
    return rows


def _some(job: tuple[str, int, int, int]) -> Tally:
    name, seed, worker, count = job
    tally, root = Tally(name), scratch()
    history = write_sample(root / "sample")
    for number in range(count):
        chance = random.Random(f"{seed}/{worker}/{number}")
        tally.points += 1
        try:
            problem = CASES[name](root, history, chance)
        except Exception:  # noqa: BLE001 - any exception that is not an error of the project is a failure
            problem = ("wrong", traceback.format_exc()[-1500:])
        if problem is not None:
            tally.fail(problem[0], f"seed {seed}, worker {worker}, case {number}: {problem[1]}")
    shutil.rmtree(root)
    return tally


Problem = tuple[str, str] | None


def _state_files(root: Path, history: History, chance: random.Random) -> Problem:
    """Damage or replace one to three files of the state; then read the status, and start."""
    logs = _fresh_copy(root)
    done = []
    for target in chance.sample(TARGETS, chance.choice((1, 1, 1, 2, 3))):
        path = _file(logs, target)
        if chance.random() < 0.15:
            done.append(f"{target}: {damage.misplace(path, chance)}")
        else:
            how = chance.choice(damage.TEXT)
            path.write_bytes(how(path.read_bytes(), chance))
            done.append(f"{target}: {how.__name__}")
    return _start(logs, history, "; ".join(done))


def _edited_files(root: Path, history: History, chance: random.Random) -> Problem:
    """Edit main and backup, with valid checksums. Any result but a traceback is accepted."""
    logs = _fresh_copy(root)
    for target in TARGETS[:2]:
        path = _file(logs, target)
        path.write_bytes(damage.edit_with_checksum(path.read_bytes(), chance))
    return _start(logs, None, "edited, with valid checksums")


def _start(logs: Path, history: History | None, done: str) -> Problem:
    """Read the status, then load the state and save it. history: the valid states; None accepts any state."""
    before = _contents(logs) - _rotated(logs)
    try:
        describe(read_status(logs, datetime.now(UTC)))
        with SampleManager.open(logs, "20251006-140000-bbbb") as manager:
            found = manager.loaded.state
            encoded = msgspec.json.encode(found) if found is not None else b""
            sequence = found.sequence if found is not None else 0
            manager.begin(DATE, ACCOUNT, GATEWAY, OPEN)
            manager.save_blocking()
    except TraderError:
        return _lost(logs, before, done)
    if history is not None and found is not None and encoded != history.states.get(sequence):
        return "wrong", f"{done}: the state that was read at event {sequence} never existed"
    return _lost(logs, before, done)


def _rotated(logs: Path) -> set[bytes]:
    """The content of main and backup if they are valid. A save replaces these rightly."""
    found = set()
    for target in TARGETS[:2]:
        path = logs / target
        with contextlib.suppress(TraderError, OSError):
            if stat.S_ISREG(path.lstat().st_mode):
                decode_state(path.read_bytes())
                found.add(path.read_bytes())
    return found


def _lost(logs: Path, before: set[bytes], done: str) -> Problem:
    """Whether a file's content is gone. A journal that new events were appended to counts as present."""
    after = _contents(logs)
    for content in before - after:
        head = content.rstrip(b"\n")
        if not any(head in other or _is_continued(head, other) for other in after):
            return "lost", f"{done}: {len(content)} bytes beginning with {content[:60]!r} are gone"
    return None


def _is_continued(head: bytes, other: bytes) -> bool:
    """Whether `other` is the same journal, continued: its torn tail is blanked and copied to quarantine/."""
    first = head.partition(b"\n")[0]
    return first.startswith(b'{"crc"') and other.startswith(first)


def _scanner(root: Path, _: History, chance: random.Random) -> Problem:
    data = (ROOT / "scanner_output" / SCAN).read_bytes()
    for _number in range(chance.choice((1, 1, 3))):
        data = chance.choice(damage.TEXT)(data, chance) or b" "
    (root / SCAN).write_bytes(data)
    try:
        found = load_setups(root, date(2025, 10, 6), UniverseRules())
    except TraderError:
        return None
    bad = [s for s in found.setups if not 0 < s.support < s.resistance < PRICE_MAX > s.target3]
    return ("wrong", f"an impossible setup: {bad[0]}") if bad else None


def _configuration(root: Path, _: History, chance: random.Random) -> Problem:
    path = root / "trader.toml"
    path.write_bytes(chance.choice(damage.TEXT)((ROOT / "trader.toml").read_bytes(), chance))
    try:
        config = load_config(path, {}, {})
    except TraderError:
        return None
    if config.gateway.live:
        return "wrong", "a file alone enabled trading with real money"
    return None


def _fresh_copy(root: Path) -> Path:
    logs = root / "logs"
    if logs.exists():
        shutil.rmtree(logs)
    shutil.copytree(root / "sample", logs)
    logs.chmod(0o700)
    return logs


def _file(logs: Path, target: str) -> Path:
    return next((logs / target).glob("*/*.json")) if target == "checkpoints" else logs / target


def _contents(logs: Path) -> set[bytes]:
    """The content of every plain file, except the lock and empty files."""
    plain = [path for path in logs.rglob("*") if stat.S_ISREG(path.lstat().st_mode) and path.name != "trader.lock"]
    return {content for path in plain if (content := path.read_bytes()).strip()}


CASES: dict[str, Callable[[Path, History, random.Random], Problem]] = {
    "state, journal, checkpoint": _state_files,
    "state signed again": _edited_files,
    "scanner": _scanner,
    "configuration": _configuration,
}
