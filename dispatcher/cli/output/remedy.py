"""Remedies: which settings a command has used, and what to do about a Redis that does not answer."""

from __future__ import annotations

import os

from dispatcher import config
from dispatcher.config import remedy
from dispatcher.config.environment_file import DEFAULT_FILE, environment_file
from dispatcher.config.variables import ENVIRONMENT_VARIABLE, FILE_VARIABLE, value_of
from dispatcher.errors import SettingsError


def settings_note() -> str:
    """A line for whoever gets an error: the environment and the files that its settings came from.

    A shell in which nothing chose the environment is in development, which on the host of a deployment is another site.
    """
    chosen = value_of(os.environ, ENVIRONMENT_VARIABLE)
    file = environment_file(os.environ)
    try:
        files = ", ".join(str(path) for path in config.source_files())
    except SettingsError:  # they have been told, and no file was read
        return "No settings were read"
    variables = "" if file is None else f", variables of {file}"
    if chosen:
        return f"These are the settings of the environment {chosen}: {files}{variables}"
    return (
        f"These are the settings of development, since {ENVIRONMENT_VARIABLE} is not set: {files}{variables}. For a "
        f"deployment, name its environment file in {FILE_VARIABLE}, or put it to {DEFAULT_FILE}"
    )


def redis_remedy() -> str:
    """What to do where Redis does not answer, by the settings of this process."""
    try:
        settings = config.load()
    except SettingsError:
        return "Mend the settings first: `dispatcher settings check`"
    return remedy.redis_remedy(settings)
