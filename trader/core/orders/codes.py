"""TWS message codes by what they mean for an order or a request, and the rule for codes that are not listed.

IBKR's number ranges say nothing: 2102 looks like a warning and means "not sent", 399 looks like an error and the
order lives. The classes are from IBKR's message code pages, the order rules of a real gateway, and recordings.
"""

from typing import Literal

import msgspec

Effect = Literal[
    "order_alive",  # a notice: the order lives
    "order_refused",  # a new order is refused; a changed one may work on
    "modify_refused",  # a change is refused; the order works on
    "cancel_refused",  # a cancel is refused
    "request_refused",  # a request has ended
    "marketdata",  # market data
    "history",  # historical data
    "connection",  # between TWS and IBKR
    "login",  # nothing can be sent
    "info",  # nothing follows from it
    "unknown",  # what became of the order has to be found out
]
After = Literal[
    "dead",  # the order has ended
    "alive",  # the order lives
    "unchanged",  # a new order never existed; a changed one is as it was
    "unknown",  # it has to be found out
    "none",  # no order is concerned
]


class Meaning(msgspec.Struct, frozen=True):
    """What a code means. after: the state of the order that the message names."""

    effect: Effect
    after: After


UNLISTED = Meaning("unknown", "unknown")
"""A code that is not listed says nothing: the order is looked for at IBKR."""

_CODES: dict[Meaning, str] = {
    Meaning(
        "order_alive", "alive"
    ): "399 404 481 2109 2128 2129 2139 2146 2161 2165 2168 2169 2170 2176 2181 10233 10311 10329 10349",
    Meaning("order_refused", "dead"): (
        "116 131 132 133 151 200 201 202 203 392 406 412 421 426 439 441 442 443 460 464 10150 10166 10224 10245 "
        "10246 10247 10248 10249 10252 10263 10324 10325"
    ),
    Meaning("order_refused", "unchanged"): (
        "103 107 109 110 111 140 141 142 144 145 146 148 152 154 160 163 328 336 337 343 346 347 348 352 353 355 "
        "361 362 363 364 382 383 387 388 391 398 401 402 403 411 434 435 436 437 451 452 457 461 463 468 494 495 "
        "496 497 10006 10028 10051 10052 10060 10061 10070 10130 10132 10136 10149 10208 10210 10243 10250 10255 "
        "10256 10257 10266 10267 10268 10269 10270 10272 10273 10274 10286 10318 10337 10338 10342 10348"
    ),
    Meaning("order_refused", "unknown"): "106 164 395 396 465 2137 10156",
    Meaning("order_refused", "none"): "413",
    Meaning(
        "modify_refused", "unchanged"
    ): "104 105 134 135 329 422 440 462 2102 10044 10059 10067 10196 10241 10242 10326 10327 10341",
    Meaning("cancel_refused", "unchanged"): "458",
    Meaning("cancel_refused", "unknown"): "136 161 10147 10148",
    Meaning("request_refused", "unchanged"): "320 321 478 10198",
    Meaning("request_refused", "unknown"): "100 322",
    Meaning("request_refused", "none"): (
        "102 300 310 327 330 331 357 365 366 385 386 414 430 2100 2101 2150 2151 10175 10176 10183 10184 10185 "
        "10186 10199 10200 10201 10275 10322 10323"
    ),
    Meaning("marketdata", "none"): (
        "101 309 316 317 354 420 456 2103 2105 2117 2134 2152 2157 10089 10090 10091 10167 10168 10170 10189 "
        "10190 10197 10213 10225 10227 10346"
    ),
    Meaning("history", "none"): "162 165 166 10177 10178 10179 10180 10181 10182 10187 10188 10299",
    Meaning("connection", "unknown"): "501 502 503 504 505 506 507 508 1100 1101 1102 1104 1105 1300 2110 10328",
    Meaning("connection", "none"): "1106",
    Meaning("login", "unchanged"): "438 10119 10121 10122",
    Meaning("login", "none"): "326 10141",
    Meaning("info", "alive"): "2174",
    Meaning("info", "unknown"): "2147 10347",
    Meaning("info", "none"): "0 492 2104 2106 2107 2108 2119 2120 2149 2158 2159 2160 2172",
    Meaning("unknown", "unknown"): "405 2148 10078 10151 10152 10153 10211 10212 10223 10331",
}
MEANINGS: dict[int, Meaning] = {
    code: meaning for meaning, codes in _CODES.items() for code in map(int, codes.split())
}

CANCELLED = 202
PARENT_UNKNOWN = 135
VALIDATION = 321  # wraps 135 and 10341 too
NOTICES: frozenset[Effect] = frozenset({"order_alive", "info", "marketdata", "history", "connection"})


def meaning_of(code: int) -> Meaning:
    """What a code means; UNLISTED for one that is not listed."""
    return MEANINGS.get(code, UNLISTED)


def is_notice(code: int) -> bool:
    """Whether an order that this code names lives on, unless its status says otherwise."""
    meaning = meaning_of(code)
    return meaning.effect in NOTICES and meaning.after != "unknown"
