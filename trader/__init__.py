"""Acts: talks to IBKR, decides, places orders, serves the operator."""
