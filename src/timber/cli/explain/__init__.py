"""``timber explain``: how PostgreSQL finds the rows of a query, and which indexes it uses."""
