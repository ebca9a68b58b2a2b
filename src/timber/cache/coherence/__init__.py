"""The protocol that keeps copies in memory and in Redis true to the database.

Each file holds one piece of it, and a test takes each of its rules away to see a stale value.
"""
