"""How fast Timber is beside asyncpg, SQLAlchemy Core and the SQLAlchemy ORM: ``python -m benchmarks``."""
