"""Writes the account messages: account updates with the portfolio, multi-account updates, summaries."""

from __future__ import annotations

from paper_gateway import replies, wire
from paper_gateway.brokerage import Brokerage


def account_values(brokerage: Brokerage, account: str) -> list[tuple[str, str, str]]:
    """(key, value, currency) of an account, with the keys of TWS. Amounts in USD, two decimals."""
    figures = brokerage.figures(account)
    available = figures.net_liquidation - figures.margin
    amounts = {
        "NetLiquidation": figures.net_liquidation,
        "TotalCashValue": figures.cash,
        "SettledCash": figures.cash,
        "BuyingPower": figures.buying_power,
        "AvailableFunds": available,
        "ExcessLiquidity": available,
        "FullAvailableFunds": available,
        "FullExcessLiquidity": available,
        "EquityWithLoanValue": figures.net_liquidation,
        "GrossPositionValue": figures.gross_value,
        "InitMarginReq": figures.margin,
        "MaintMarginReq": figures.margin,
        "FullInitMarginReq": figures.margin,
        "FullMaintMarginReq": figures.margin,
    }
    by_currency = {
        "CashBalance": figures.cash,
        "TotalCashBalance": figures.cash,
        "StockMarketValue": figures.stock_value,
        "NetLiquidationByCurrency": figures.net_liquidation,
        "RealizedPnL": figures.realized_pnl,
        "UnrealizedPnL": figures.unrealized_pnl,
        "ExchangeRate": 1.0,
    }
    rows = [("AccountCode", account, ""), ("AccountReady", "true", ""), ("AccountType", "INDIVIDUAL", "")]
    rows += [(key, f"{value:.2f}", "USD") for key, value in amounts.items()]
    for currency in ("BASE", "USD"):
        rows.append(("Currency", currency, currency))
        rows += [(key, f"{value:.2f}", currency) for key, value in by_currency.items()]
    return rows


def account_rows(brokerage: Brokerage, account: str) -> list[bytes]:
    """One updateAccountValue for each value, then the time of the update."""
    frames = [
        wire.encode(6, 2, key, value, currency, account)
        for key, value, currency in account_values(brokerage, account)
    ]
    return [*frames, wire.encode(8, 1, brokerage.engine.now.strftime("%H:%M"))]


def portfolio_frame(brokerage: Brokerage, account: str, symbol: str) -> bytes:
    held = brokerage.accounts.position(account, symbol)
    realized = sum(
        one.realized_pnl or 0.0
        for one in brokerage.execution_log.executions
        if not one.superseded and (one.order.account, one.order.symbol) == (account, symbol)
    )
    return replies.portfolio(account, brokerage.info(symbol), held, brokerage.last(symbol), realized)


def account_download(brokerage: Brokerage, account: str) -> list[bytes]:
    """The first answer to an account subscription: values, portfolio, end marker."""
    portfolio = [portfolio_frame(brokerage, account, symbol) for _, symbol, _ in brokerage.accounts.held(account)]
    return [*account_rows(brokerage, account), *portfolio, wire.encode(54, 1, account)]


def account_multi(brokerage: Brokerage, request_id: int, account: str) -> list[bytes]:
    frames = [
        wire.encode(73, 1, request_id, account, "", key, value, currency)
        for key, value, currency in account_values(brokerage, account)
    ]
    return [*frames, wire.encode(74, 1, request_id)]


def account_summary(brokerage: Brokerage, request_id: int, tags: tuple[str, ...]) -> list[bytes]:
    """The requested tags of every account. `$LEDGER`, with or without a currency, gives the rows by currency."""
    ledger_asked = any(tag.startswith("$LEDGER") for tag in tags)
    frames = []
    for account in brokerage.account_ids:
        for key, value, currency in account_values(brokerage, account):
            if key in tags or (ledger_asked and currency == "BASE"):
                frames.append(wire.encode(63, 1, request_id, account, key, value, currency))
    return [*frames, wire.encode(64, 1, request_id)]
