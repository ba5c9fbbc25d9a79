"""What the operator's commands share: sending a request to the running trader, and printing its answer."""

from typing import Any

from state.storage.files import Folder
from trader.cli.control_client import ask
from trader.config.sections import Config
from trader.errors import BrokerUnreachableError, UsageError
from trader.output import say, say_error, say_json


def ask_trader(config: Config, command: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The running trader's answer; None if no trader runs on this logs folder."""
    if not config.files.logs_dir.is_dir():
        return None
    with Folder.open(config.files.logs_dir, create=False) as folder:
        return ask(folder, command, arguments)


def report_answer(answer: dict[str, Any] | None, command: str, text: str, *, as_json: bool) -> int:
    """Print an answer; returns the exit code: 0, or that of the error in the answer, which is printed as well.

    `text`: a format string for the answer's fields. Raises BrokerUnreachableError if no trader answered (None).
    """
    if answer is None:
        raise BrokerUnreachableError(
            f"No trader is running on this logs folder, so `{command}` cannot be done.",
            "Start it with `python3 trader.py`, then repeat the command.",
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
