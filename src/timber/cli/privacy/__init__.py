"""``timber privacy``: what there is of a person, a copy of it, its erasure and the proof of that, and retention."""
