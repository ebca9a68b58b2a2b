"""Timber inside the programs of others: one file or package for each; what several share imports none of them."""
