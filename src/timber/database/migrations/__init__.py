"""Schema changes by Alembic: written from the differences between models and database, and applied by one process at a time.

Alembic is an optional dependency (``timber-async[migrations]``), so nothing is imported here.
"""
