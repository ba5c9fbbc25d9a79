"""Writes the account messages: account updates with the portfolio, multi-account updates, summaries.

Their order is that of a real gateway (recorded: `account_summary`, `account_updates`).
"""

from __future__ import annotations

from paper_gateway import replies, wire
from paper_gateway.account_values import BASE, Row, base_currency, currency_rows, tag_rows, update_rows
from paper_gateway.brokerage import Brokerage

ALL = "All"
"""The account of a summary's ledger rows: they sum up the accounts of the group."""
BY_CURRENCY = "$LEDGER"


def account_rows(brokerage: Brokerage, account: str, *, ready: bool = True) -> list[bytes]:
    """One updateAccountValue for each value."""
    return [
        wire.encode(6, 2, key, value, currency, account)
        for key, value, currency in update_rows(brokerage, account, ready=ready)
    ]


def account_time(brokerage: Brokerage) -> bytes:
    """The time of an update: hours and minutes of the gateway's clock."""
    return wire.encode(8, 1, brokerage.engine.now.strftime("%H:%M"))


def portfolio_frames(brokerage: Brokerage, account: str, symbol: str) -> list[bytes]:
    """One position with its value, and the time."""
    held = brokerage.accounts.position(account, symbol)
    realized = sum(
        one.realized_pnl or 0.0
        for one in brokerage.execution_log.executions
        if not one.superseded and (one.order.account, one.order.symbol) == (account, symbol)
    )
    row = replies.portfolio(account, brokerage.info(symbol), held, brokerage.last(symbol), realized)
    return [row, account_time(brokerage)]


def account_download(brokerage: Brokerage, account: str, *, ready: bool = True) -> list[bytes]:
    """The first answer to an account subscription: values, portfolio, time, end marker."""
    frames = account_rows(brokerage, account, ready=ready)
    for _, symbol, _ in brokerage.accounts.held(account) if ready else ():
        frames += portfolio_frames(brokerage, account, symbol)
    return [*frames, account_time(brokerage), wire.encode(54, 1, account)]


def account_multi(brokerage: Brokerage, request_id: int, account: str, *, ready: bool = True) -> list[bytes]:
    """The rows of a multi-account subscription."""
    return [
        wire.encode(73, 1, request_id, account, "", key, value, currency)
        for key, value, currency in update_rows(brokerage, account, ready=ready)
    ]


def account_multi_end(request_id: int) -> bytes:
    return wire.encode(74, 1, request_id)


def summary_answer(brokerage: Brokerage, request_id: int, tags: tuple[str, ...]) -> list[bytes]:
    """The first answer to a summary request, as recorded: the tag rows twice, the ledger rows, the end marker.

    With ledger rows follow the ledger once more and a second end marker.
    """
    named = _tag_frames(brokerage, request_id, tags)
    ledger = _currency_frames(brokerage, request_id, tags)
    end = wire.encode(64, 1, request_id)
    return [*named, *named, *ledger, end, *((*ledger, end) if ledger else ())]


def summary_rows(brokerage: Brokerage, request_id: int, tags: tuple[str, ...]) -> list[bytes]:
    """Each row once, for the regular update."""
    return [*_tag_frames(brokerage, request_id, tags), *_currency_frames(brokerage, request_id, tags)]


def _tag_frames(brokerage: Brokerage, request_id: int, tags: tuple[str, ...]) -> list[bytes]:
    return [
        _summary(request_id, account, row)
        for account in brokerage.account_ids
        for row in tag_rows(brokerage, account, brokerage.figures(account))
        if row[0] in tags
    ]


def _currency_frames(brokerage: Brokerage, request_id: int, tags: tuple[str, ...]) -> list[bytes]:
    """The ledger rows of the currencies asked for. Without a currency `$LEDGER` means the base currency."""
    asked = {tag.removeprefix(BY_CURRENCY).removeprefix(":") for tag in tags if tag.startswith(BY_CURRENCY)}
    if not asked:
        return []
    wanted = {base_currency(brokerage) if currency in ("", BASE) else currency for currency in asked}
    figures = [brokerage.figures(account) for account in brokerage.account_ids]
    return [
        _summary(request_id, ALL, row)
        for row in currency_rows(brokerage, ALL, figures)
        if "ALL" in wanted or row[2] in wanted
    ]


def _summary(request_id: int, account: str, row: Row) -> bytes:
    key, value, currency = row
    return wire.encode(63, 1, request_id, account, key, value, currency)
