"""A person's data: what there is of it, a copy of it, its erasure, the proof of that, and what has outlived its time."""
