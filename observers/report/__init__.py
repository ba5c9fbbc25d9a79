"""The report of a trading date, from the files alone: `day` gathers it, `text`, `page` and `charts` show it."""
