"""The values of an account as rows of key, value and currency, with the keys of TWS.

Amounts have two decimals. Those that are not of one currency are in the base currency, which is USD unless the
quirk `base-currency` says otherwise. All cash and all stocks are in USD.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from operator import itemgetter

from paper_gateway.accounts import Figures
from paper_gateway.brokerage import Brokerage

Row = tuple[str, str, str]

BASE = "BASE"
"""The currency of ledger rows that sum up all currencies, in the base currency."""
USD = "USD"
RATES = {USD: 1.0, "EUR": 0.92, "JPY": 150.0}
"""What one dollar is worth in each base currency."""
NO_AMOUNTS = Figures(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_NOT_HELD = (
    "OptionMarketValue",
    "FutureOptionValue",
    "FuturesPNL",
    "FundValue",
    "NetDividend",
    "MutualFundValue",
    "MoneyMarketFundValue",
    "CorporateBondValue",
    "TBondValue",
    "TBillValue",
    "WarrantValue",
    "FxCashBalance",
    "IssuerOptionValue",
)
"""Ledger keys of what no account of this gateway has."""


def base_currency(brokerage: Brokerage) -> str:
    return brokerage.quirks.text("base-currency") or USD


def update_rows(brokerage: Brokerage, account: str, *, ready: bool = True) -> list[Row]:
    """All values as account updates have them, in alphabetical order. Not ready: the amounts are 0."""
    figures = brokerage.figures(account) if ready else NO_AMOUNTS
    rows = [("AccountReady", "true" if ready else "false", "")]
    rows += tag_rows(brokerage, account, figures)
    rows += currency_rows(brokerage, account, [figures])
    return sorted(rows, key=itemgetter(0, 2))


def tag_rows(brokerage: Brokerage, account: str, figures: Figures) -> list[Row]:
    """The values that an account summary can name, in alphabetical order."""
    base = base_currency(brokerage)
    rate = RATES[base]
    rows = [(key, f"{value * rate:.2f}", base) for key, value in _amounts(figures).items()]
    worth = figures.net_liquidation
    rows += [
        ("AccountCode", account, ""),
        ("AccountType", "INDIVIDUAL", ""),
        ("Cushion", f"{(worth - figures.margin) / worth:.6f}" if worth > 0 else "0", ""),
        ("DayTradesRemaining", "-1", ""),
        ("Leverage-S", f"{figures.gross_value / worth:.2f}" if worth > 0 else "0.00", ""),
        ("NLVAndMarginInReview", "false", ""),
        ("SettledCashByDate", _settled(brokerage, figures.cash * rate), ""),
    ]
    return sorted(rows)


def currency_rows(brokerage: Brokerage, owner: str, figures: Sequence[Figures]) -> list[Row]:
    """The values by currency, each currency's together, then their sum in the base currency. owner: as told."""
    base = base_currency(brokerage)
    cash = sum(one.cash for one in figures)
    stocks = sum(one.stock_value for one in figures)
    unrealized = sum(one.unrealized_pnl for one in figures)
    realized = sum(one.realized_pnl for one in figures)
    rows: list[Row] = []
    for currency, factor, rate in _currencies(base):
        amounts = [amount * factor for amount in (cash, stocks, unrealized, realized)]
        rows += [(key, value, currency) for key, value in _ledger(owner, currency, rate, *amounts)]
    return rows


def _currencies(base: str) -> list[tuple[str, float, float]]:
    """(currency, its factor for amounts in USD, its exchange rate). Nothing is held in a base other than USD."""
    rows = [(USD, 1.0, RATES[base]), (BASE, RATES[base], 1.0)]
    return rows if base == USD else [(base, 0.0, 1.0), *rows]


def _ledger(
    owner: str, currency: str, rate: float, cash: float, stocks: float, unrealized: float, realized: float
) -> list[tuple[str, str]]:
    amounts = {
        "CashBalance": cash,
        "TotalCashBalance": cash,
        "AccruedCash": 0.0,
        "StockMarketValue": stocks,
        "NetLiquidationByCurrency": cash + stocks,
        "UnrealizedPnL": unrealized,
        "RealizedPnL": realized,
        "ExchangeRate": rate,
    } | dict.fromkeys(_NOT_HELD, 0.0)
    named = {"Currency": currency, "AccountOrGroup": owner, "RealCurrency": currency, "Cryptocurrency": ""}
    return [*((key, f"{value:.2f}") for key, value in amounts.items()), *named.items()]


def _amounts(figures: Figures) -> dict[str, float]:
    available = figures.net_liquidation - figures.margin
    return {
        "NetLiquidation": figures.net_liquidation,
        "TotalCashValue": figures.cash,
        "SettledCash": figures.cash,
        "BuyingPower": figures.buying_power,
        "AvailableFunds": available,
        "ExcessLiquidity": available,
        "FullAvailableFunds": available,
        "FullExcessLiquidity": available,
        "LookAheadAvailableFunds": available,
        "LookAheadExcessLiquidity": available,
        "EquityWithLoanValue": figures.net_liquidation,
        "GrossPositionValue": figures.gross_value,
        "InitMarginReq": figures.margin,
        "MaintMarginReq": figures.margin,
        "FullInitMarginReq": figures.margin,
        "FullMaintMarginReq": figures.margin,
        "LookAheadInitMarginReq": figures.margin,
        "LookAheadMaintMarginReq": figures.margin,
    }


def _settled(brokerage: Brokerage, cash: float) -> str:
    """Cash by the day on which it is settled; stocks settle on the next day."""
    today = brokerage.market.trading_date
    return f"{today:%Y%m%d}:{cash:.2f};{today + timedelta(days=1):%Y%m%d}:{cash:.2f}"
