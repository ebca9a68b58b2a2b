"""The repository's own tests once more, on rows in memory."""
