"""Text from outside, made safe to show: in a terminal, on a line of a log, on a page (invariant 23).

IBKR, the operator and files may hold control characters, line ends and marks that reverse the direction of
reading. They are shown as what they are: `\\x1b`, `\\u202e`. Pure.
"""

import re

LENGTH_MAX = 500  # of one text of IBKR or of the operator
_LINE_ENDS = re.compile(r"\r\n|[\n\r]")


def plain(text: str, length_max: int | None = LENGTH_MAX) -> str:
    """The text on one line, with line ends as ` / `, and cut to `length_max` characters; None for no limit."""
    if not text.isprintable():
        text = "".join(_shown(one) for one in _LINE_ENDS.sub(" / ", text))
    if length_max is not None and len(text) > length_max:
        return text[: length_max - 1] + "…"
    return text


def printable(text: str) -> str:
    """The text with its line ends. Its parts must be plain already: a line end in them would forge a line."""
    return "".join(one if one == "\n" else _shown(one) for one in text)


def json_printable(text: str) -> str:
    """JSON with its meaning unchanged: what a terminal would act on becomes an escape of JSON."""
    return "".join(one if one.isprintable() or one == "\n" else _json_escaped(one) for one in text)


def _shown(one: str) -> str:
    if one.isprintable():
        return one
    return " " if one in "\t\xa0" else one.encode("unicode_escape").decode()


def _json_escaped(one: str) -> str:
    units = one.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
