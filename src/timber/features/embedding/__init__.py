"""Semantic search: vectors of a model's text, made by an embedder beside the writes and kept in pgvector."""
