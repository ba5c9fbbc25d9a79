"""Client messages about the account: positions, account values, ids, time."""

from __future__ import annotations

from collections.abc import Callable

from paper_gateway import replies
from paper_gateway.account_messages import account_download, account_multi_end, summary_answer
from paper_gateway.errors import RequestRefused
from paper_gateway.handlers import Services, handles
from paper_gateway.history import refused
from paper_gateway.session import Session
from paper_gateway.wire import FieldReader, encode

POSITIONS_UNREADY = 2151
PROCESSING_ERROR = 322
MAX_SUMMARIES = 2


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
    quirks = services.brokerage.quirks
    if session.age_s < (quirks.number("positions-unready") or 0.0):
        session.error(-1, POSITIONS_UNREADY, "Positions information is not available yet.")
        return
    session.subscriptions.positions = True
    end = () if quirks.on("positions-open") else (encode(62, 1),)
    session.send("positions", *services.publisher.positions.answer(), *end)


@handles(64)
def cancel_positions(_: Services, session: Session, __: FieldReader) -> None:
    session.subscriptions.positions = False


@handles(6)
def account_updates(services: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    subscribe = reader.flag("subscribe")
    account = _account(services, reader.text("account"))
    if not subscribe:
        session.subscriptions.accounts.discard(account)
        return
    session.subscriptions.accounts.add(account)
    ready = services.publisher.is_account_ready(session)
    session.send("account", *account_download(services.brokerage, account, ready=ready))
    if not ready:
        _when_ready(services, session, lambda: _send_updates(services, session, account))


@handles(76)
def account_updates_multi(services: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    reader.request_id = request_id = reader.whole("reqId")
    session.subscriptions.account_multi[request_id] = _account(services, reader.text("account"))
    services.publisher.send_account_multi(session, request_id)
    session.send("account", account_multi_end(request_id))
    if not services.publisher.is_account_ready(session):
        _when_ready(services, session, lambda: _send_multi(services, session, request_id))


def _when_ready(services: Services, session: Session, task: Callable[[], None]) -> None:
    """Do the task when the values of accounts are ready to be told (quirk `account-unready`)."""
    unready_s = services.brokerage.quirks.number("account-unready") or 0.0
    session.after(unready_s - session.age_s, task)


def _send_updates(services: Services, session: Session, account: str) -> None:
    if account in session.subscriptions.accounts:
        session.send("account", *account_download(services.brokerage, account)[:-1])


def _send_multi(services: Services, session: Session, request_id: int) -> None:
    if request_id in session.subscriptions.account_multi:
        services.publisher.send_account_multi(session, request_id)


def _account(services: Services, account: str) -> str:
    """The account that a request names; the first one if it names none. Raises RequestRefused."""
    ids = services.brokerage.account_ids
    if account and account not in ids:
        raise refused(f"Invalid account code '{account[:20]}'")
    return account or ids[0]


@handles(77)
def cancel_account_updates_multi(_: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    session.subscriptions.account_multi.pop(reader.whole("reqId"), None)


@handles(62)
def request_summary(services: Services, session: Session, reader: FieldReader) -> None:
    """At most two at a time, as IBKR documents it."""
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    reader.skip("group")
    tags = tuple(tag.strip() for tag in reader.text("tags").split(",") if tag.strip())
    if not tags:
        raise refused("Account summary needs at least one tag")
    summaries = session.subscriptions.summaries
    if reader.request_id not in summaries and len(summaries) >= MAX_SUMMARIES:
        raise RequestRefused(PROCESSING_ERROR, "Maximum number of account summary requests exceeded")
    summaries[reader.request_id] = tags
    session.send("account", *summary_answer(services.brokerage, reader.request_id, tags))


@handles(63)
def cancel_summary(_: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    session.subscriptions.summaries.pop(reader.whole("reqId"), None)
