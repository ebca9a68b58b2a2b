"""Where truth lives: the connection pool, units of work and what became of them."""
