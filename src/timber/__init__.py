"""Async persistence for Python services on PostgreSQL."""
