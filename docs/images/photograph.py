"""Photographs the built site into this folder: ``nox -s site``, then ``python docs/images/photograph.py``.

It needs a Chromium, and pngquant to make the pictures small.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

FOLDER: Final = Path(__file__).parent
SITE: Final = FOLDER.parent.parent / "build" / "site"
_DARK: Final = "--blink-settings=preferredColorScheme=0"
PICTURES: Final = {
    "site": ("index.html", 1280, 820, False),
    "site-dark": ("concepts.html", 1280, 820, True),
    "site-narrow": ("tutorial.html", 390, 820, False),
}
"""The name of each picture: the page, its width and height in pixels, and whether it is dark."""


def photograph(name: str, page: str, width: int, height: int, *, dark: bool) -> None:
    target = FOLDER / f"{name}.png"
    with TemporaryDirectory() as profile:
        chromium = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]
        options = [
            "--hide-scrollbars",
            "--virtual-time-budget=3000",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--screenshot={target}",
        ]
        scheme = [_DARK] if dark else []
        address = (SITE / page).as_uri()
        subprocess.run(  # noqa: S603  # the command is this file's own
            [*chromium, *options, *scheme, address], check=True, capture_output=True, timeout=60
        )
    subprocess.run(  # noqa: S603
        ["pngquant", "--force", "--ext", ".png", "--strip", str(target)],  # noqa: S607
        check=True,
    )


if __name__ == "__main__":
    for name, (page, width, height, dark) in PICTURES.items():
        photograph(name, page, width, height, dark=dark)
