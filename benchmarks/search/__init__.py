"""How well searches find what was asked for, on real text."""
