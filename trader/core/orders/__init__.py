"""Our orders: their names, the protection they give, and the desk that alone sends them."""
