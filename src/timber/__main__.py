"""``python -m timber``: the command line."""

from __future__ import annotations

from timber.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
