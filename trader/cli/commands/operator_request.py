"""What the operator's commands share: asking the running trader, and saying what came of it."""

from typing import Any

from state.storage.files import Folder
from trader.config.sections import Config
from trader.errors import BrokerUnreachableError, UsageError
from trader.output import say, say_error, say_json
from trader.runtime.control_socket import ask


def ask_trader(config: Config, command: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The running trader's answer, or None where none runs on this logs folder."""
    if not config.files.logs_dir.is_dir():
        return None
    with Folder.open(config.files.logs_dir, create=False) as folder:
        return ask(folder, command, arguments)


def report_answer(answer: dict[str, Any] | None, command: str, text: str, *, as_json: bool) -> int:
    """Print an answer; the exit code. Where it was refused or failed: the two sentences, and its own exit code."""
    if answer is None:
        raise BrokerUnreachableError(
            f"No trader is running on this logs folder, so `{command}` cannot be done.",
            "Start it with `python3 trader.py`, then try again.",
        )
    if not answer.get("ok"):
        what, hint, code = answer.get("error", "It was refused."), answer.get("hint"), answer.get("exit_code")
        say_error(UsageError(str(what), str(hint or "See trader.log.")))
        return code if isinstance(code, int) else UsageError.exit_code
    if as_json:
        say_json(answer)
    else:
        say(text.format(**answer))
    return 0
