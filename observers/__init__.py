"""Programs that read what the trader wrote. The trader imports none of them."""
