"""The field orders of the three long messages: placeOrder, openOrder and completedOrder.

Data only; `order_decoder` and `order_encoder` walk these lists. Names are those of the public API.
The conditional groups between the lists (legs, delta neutral, scale, algo, conditions) are not
interpreted: orders that use them are refused, so on the way out their counts are always zero.
"""

from __future__ import annotations

C12 = (
    "conId", "symbol", "secType", "lastTradeDate", "strike", "right", "multiplier", "exchange",
    "primaryExchange", "currency", "localSymbol", "tradingClass",
)  # fmt: skip
"""A contract as clients send it."""

PLACE_HEAD = (
    *C12, "secIdType", "secId", "action", "totalQuantity", "orderType", "lmtPrice", "auxPrice", "tif",
    "ocaGroup", "account", "openClose", "origin", "orderRef", "transmit", "parentId", "blockOrder",
    "sweepToFill", "displaySize", "triggerMethod", "outsideRth", "hidden",
)  # fmt: skip

PLACE_MIDDLE = (
    "sharesAllocation", "discretionaryAmt", "goodAfterTime", "goodTillDate", "faGroup", "faMethod",
    "faPercentage", "faProfile", "modelCode", "shortSaleSlot", "designatedLocation", "exemptCode", "ocaType",
    "rule80A", "settlingFirm", "allOrNone", "minQty", "percentOffset", "eTradeOnly", "firmQuoteOnly",
    "nbboPriceCap", "auctionStrategy", "startingPrice", "stockRefPrice", "delta", "stockRangeLower",
    "stockRangeUpper", "overridePercentageConstraints", "volatility", "volatilityType",
    "deltaNeutralOrderType", "deltaNeutralAuxPrice",
)  # fmt: skip

PLACE_AFTER_DELTA_NEUTRAL = (
    "continuousUpdate", "referencePriceType", "trailStopPrice", "trailingPercent", "scaleInitLevelSize",
    "scaleSubsLevelSize", "scalePriceIncrement",
)  # fmt: skip

PLACE_AFTER_SCALE = ("scaleTable", "activeStartTime", "activeStopTime", "hedgeType")
PLACE_AFTER_HEDGE = ("optOutSmartRouting", "clearingAccount", "clearingIntent", "notHeld", "dncFlag")
PLACE_AFTER_ALGO = (
    "algoId", "whatIf", "orderMiscOptions", "solicited", "randomizeSize", "randomizePrice",
)  # fmt: skip

PLACE_TAIL = (
    "adjustedOrderType", "triggerPrice", "lmtPriceOffset", "adjustedStopPrice", "adjustedStopLimitPrice",
    "adjustedTrailingAmount", "adjustableTrailingUnit", "extOperator", "softDollarName", "softDollarVal",
    "cashQty", "mifid2DecisionMaker", "mifid2DecisionAlgo", "mifid2ExecutionTrader", "mifid2ExecutionAlgo",
    "dontUseAutoPriceForHedge", "isOmsContainer", "discretionaryUpToLimitPrice", "usePriceMgmtAlgo",
)  # fmt: skip

PLACE_TAIL_SINCE = (
    (158, "duration"), (160, "postToAts"), (162, "autoCancelParent"), (166, "advancedErrorOverride"),
    (169, "manualOrderTime"),
)  # fmt: skip
"""Fields that the placeOrder message gained, with the server version that brought each."""

_ORDER = (
    "action", "totalQuantity", "orderType", "lmtPrice", "auxPrice", "tif", "ocaGroup", "account",
    "openClose", "origin", "orderRef",
)  # fmt: skip

OPEN_HEAD = (
    *_ORDER, "clientId", "permId", "outsideRth", "hidden", "discretionaryAmt", "goodAfterTime",
    "sharesAllocation", "faGroup", "faMethod", "faPercentage", "faProfile", "modelCode", "goodTillDate",
    "rule80A", "percentOffset", "settlingFirm", "shortSaleSlot", "designatedLocation", "exemptCode",
    "auctionStrategy", "startingPrice", "stockRefPrice", "delta", "stockRangeLower", "stockRangeUpper",
    "displaySize", "blockOrder", "sweepToFill", "allOrNone", "minQty", "ocaType", "eTradeOnly",
    "firmQuoteOnly", "nbboPriceCap", "parentId", "triggerMethod", "volatility", "volatilityType",
    "deltaNeutralOrderType", "deltaNeutralAuxPrice",
)  # fmt: skip

DELTA_NEUTRAL_OPEN = (
    "dnConId", "dnSettlingFirm", "dnClearingAccount", "dnClearingIntent", "dnOpenClose", "dnShortSale",
    "dnShortSaleSlot", "dnDesignatedLocation",
)  # fmt: skip
"""Always sent: TWS answers deltaNeutralOrderType `None`, a text, so the group follows it."""

OPEN_MIDDLE = (
    "continuousUpdate", "referencePriceType", "trailStopPrice", "trailingPercent", "basisPoints",
    "basisPointsType", "comboLegsDescrip", "nLegs", "nOrderLegs", "nSmartParams", "scaleInitLevelSize",
    "scaleSubsLevelSize", "scalePriceIncrement", "hedgeType", "optOutSmartRouting", "clearingAccount",
    "clearingIntent", "notHeld", "dncFlag", "algoStrategy", "solicited", "whatIf",
)  # fmt: skip

ORDER_STATE = (
    "status", "initMarginBefore", "maintMarginBefore", "equityBefore", "initMarginChange",
    "maintMarginChange", "equityChange", "initMarginAfter", "maintMarginAfter", "equityAfter", "commission",
    "minCommission", "maxCommission", "commissionCurrency", "warningText",
)  # fmt: skip

OPEN_TAIL = (
    "randomizeSize", "randomizePrice", "nConditions", "adjustedOrderType", "triggerPrice", "trailStopPrice",
    "lmtPriceOffset", "adjustedStopPrice", "adjustedStopLimitPrice", "adjustedTrailingAmount",
    "adjustableTrailingUnit", "softDollarName", "softDollarVal", "softDollarDisplayName", "cashQty",
    "dontUseAutoPriceForHedge", "isOmsContainer", "discretionaryUpToLimitPrice", "usePriceMgmtAlgo",
)  # fmt: skip

OPEN_TAIL_SINCE = ((159, "duration"), (160, "postToAts"), (162, "autoCancelParent"))

PEGGED_SINCE = 170
PEGGED = (
    "minTradeQty", "minCompeteSize", "competeAgainstBestOffset", "midOffsetAtWhole", "midOffsetAtHalf",
)  # fmt: skip

COMPLETED_HEAD = (
    *_ORDER, "permId", "outsideRth", "hidden", "discretionaryAmt", "goodAfterTime", "faGroup", "faMethod",
    "faPercentage", "faProfile", "modelCode", "goodTillDate", "rule80A", "percentOffset", "settlingFirm",
    "shortSaleSlot", "designatedLocation", "exemptCode", "startingPrice", "stockRefPrice", "delta",
    "stockRangeLower", "stockRangeUpper", "displaySize", "sweepToFill", "allOrNone", "minQty", "ocaType",
    "triggerMethod", "volatility", "volatilityType", "deltaNeutralOrderType", "deltaNeutralAuxPrice",
)  # fmt: skip

DELTA_NEUTRAL_COMPLETED = ("dnConId", "dnShortSale", "dnShortSaleSlot", "dnDesignatedLocation")

COMPLETED_TAIL = (
    "continuousUpdate", "referencePriceType", "trailStopPrice", "trailingPercent", "comboLegsDescrip",
    "nLegs", "nOrderLegs", "nSmartParams", "scaleInitLevelSize", "scaleSubsLevelSize", "scalePriceIncrement",
    "hedgeType", "clearingAccount", "clearingIntent", "notHeld", "dncFlag", "algoStrategy", "solicited",
    "status", "randomizeSize", "randomizePrice", "nConditions", "trailStopPrice", "lmtPriceOffset",
    "cashQty", "dontUseAutoPriceForHedge", "isOmsContainer", "autoCancelDate", "filledQuantity",
    "refFuturesConId", "autoCancelParent", "shareholder", "imbalanceOnly", "routeMarketableToBbo",
    "parentPermId", "completedTime", "completedStatus",
)  # fmt: skip
