"""Client messages about the account: positions, account values, executions, ids, time."""

from __future__ import annotations

from datetime import datetime

from paper_gateway import history, replies
from paper_gateway.account_messages import account_download, account_multi, account_summary
from paper_gateway.errors import RequestRefused
from paper_gateway.execution_log import Execution
from paper_gateway.handlers import Services, handles
from paper_gateway.session import Session
from paper_gateway.validation import check_account
from paper_gateway.wire import FieldReader, encode


@handles(49)
def current_time(services: Services, session: Session, _: FieldReader) -> None:
    session.send("time", replies.current_time(services.clock.now()))


@handles(14)
def set_log_level(_: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    reader.whole("level")


@handles(17)
def managed_accounts(services: Services, session: Session, _: FieldReader) -> None:
    session.send("ids", replies.managed_accounts(services.brokerage.account_ids))


@handles(8)
def next_ids(services: Services, session: Session, _: FieldReader) -> None:
    assert session.client_id is not None
    session.send("ids", replies.next_valid_id(services.brokerage.order_store.next_order_id(session.client_id)))


@handles(61)
def positions(services: Services, session: Session, _: FieldReader) -> None:
    session.subscriptions.positions = True
    held = services.brokerage.accounts.held()
    frames = [services.publisher.position_frame(account, symbol) for account, symbol, _ in held]
    session.send("positions", *frames, encode(62, 1))


@handles(64)
def cancel_positions(_: Services, session: Session, __: FieldReader) -> None:
    session.subscriptions.positions = False


@handles(6)
def account_updates(services: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    subscribe = reader.flag("subscribe")
    account = check_account(
        reader.text("account") or services.brokerage.account_ids[0], services.brokerage.account_ids
    )
    if not subscribe:
        session.subscriptions.accounts.discard(account)
        return
    session.subscriptions.accounts.add(account)
    session.send("account", *account_download(services.brokerage, account))


@handles(76)
def account_updates_multi(services: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    account = check_account(
        reader.text("account") or services.brokerage.account_ids[0], services.brokerage.account_ids
    )
    session.subscriptions.account_multi[reader.request_id] = account
    session.send("account", *account_multi(services.brokerage, reader.request_id, account))


@handles(77)
def cancel_account_updates_multi(_: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    session.subscriptions.account_multi.pop(reader.whole("reqId"), None)


@handles(62)
def request_summary(services: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    reader.skip("group")
    tags = tuple(tag.strip() for tag in reader.text("tags").split(",") if tag.strip())
    if not tags:
        raise history.refused("Account summary needs at least one tag")
    session.subscriptions.summaries[reader.request_id] = tags
    session.send("account", *account_summary(services.brokerage, reader.request_id, tags))


@handles(63)
def cancel_summary(_: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    session.subscriptions.summaries.pop(reader.whole("reqId"), None)


@handles(7)
def executions(services: Services, session: Session, reader: FieldReader) -> None:
    """The executions of the day that pass the filter, each followed by its commission.

    Three reports contradict each other about client id 0 in the filter. So it is an option of the gateway
    (--executions-of): the executions of all clients, or those of client 0.
    """
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    client_id = reader.whole("clientId")
    account, since = reader.text("account"), reader.text("time")
    symbol, sec_type = reader.text("symbol").upper(), reader.text("secType")
    reader.skip("exchange")
    side = _side(reader.text("side"))
    after = history.parse_time(since) if since else None
    everyone = client_id == 0 and services.executions_of == "all"
    for one in services.brokerage.execution_log.executions:
        if not everyone and one.order.client_id != client_id:
            continue
        if sec_type in ("", "STK") and _passes(one, account, symbol, side, after):
            info = services.brokerage.info(one.order.symbol)
            session.send("executions", replies.execution(reader.request_id, one, info))
            session.send("executions", replies.commission(one))
    session.send("executions", encode(55, 1, reader.request_id))


def _side(text: str) -> str:
    sides = {"": "", "BUY": "BOT", "BOT": "BOT", "SELL": "SLD", "SLD": "SLD"}
    if text.upper() not in sides:
        raise RequestRefused(321, f"Error validating request.-'bO' : cause - Invalid side {text[:20]!r}")
    return sides[text.upper()]


def _passes(one: Execution, account: str, symbol: str, side: str, after: datetime | None) -> bool:
    return (
        account in ("", one.order.account)
        and symbol in ("", one.order.symbol)
        and side in ("", one.side)
        and (after is None or one.time >= after)
    )
