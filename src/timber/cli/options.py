"""Options that several commands have, and the settings that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from timber.settings import SettingsKeywords, TimberSettings

DatabaseURL = Annotated[
    str | None,
    typer.Option(help="The database, instead of TIMBER_DATABASE_URL.", show_default=False),
]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        help="A folder with YAML models, instead of TIMBER_MODEL_CONFIG_DIRS; may be given again.",
        show_default=False,
    ),
]


def settings_of(
    database_url: str | None = None, models: list[Path] | None = None
) -> TimberSettings:
    """The settings of the environment, with what was given by option in their place.

    Raises:
        ConfigurationError: a setting is unknown or does not fit.
    """
    from timber.settings import make_settings

    keywords: SettingsKeywords = {"model_config_dirs": tuple(models)} if models else {}
    return make_settings(database_url, None, keywords)
