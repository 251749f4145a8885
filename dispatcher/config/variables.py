"""Variables: which environment variable a setting has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from dispatcher.config.credential import trim

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where a setting stands: ``("outbox", "max_bytes")``.
KeyPath: TypeAlias = tuple[str, ...]

PREFIX: Final = "DISPATCHER_"
ENVIRONMENT_VARIABLE: Final = "DISPATCHER_ENV"
DIRECTORY_VARIABLE: Final = "DISPATCHER_SETTINGS"
#: Names the environment file; one that does not exist is an error then.
FILE_VARIABLE: Final = "DISPATCHER_ENVIRONMENT_FILE"

#: What Kubernetes and Docker set behind ``PREFIX`` for a service of that name, or of one that begins so, as a pattern.
SERVICE_LINK: Final = r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"


def variable_name(path: KeyPath) -> str:
    """The environment variable of a setting: ``DISPATCHER_OUTBOX__MAX_BYTES``."""
    return PREFIX + "__".join(path).upper()


def option_variable(destination: str, option: str) -> str:
    """The environment variable of a key in a destination's table, for texts that say what to set.

    Args:
        destination: The name of the table.
        option: The key, of the type's own options or of those that every destination has.
    """
    return variable_name(("destinations", destination, option))


def value_of(environ: Mapping[str, str], name: str) -> str:
    """Read a variable whose name may be written in any case.

    Args:
        environ: The environment.
        name: The variable in capitals.

    Returns:
        Its value without the blanks and line ends around it, or an empty text if it is not set.
    """
    spellings = sorted((key for key in environ if key.upper() == name), key=str.isupper)
    return trim(environ[spellings[-1]]) if spellings else ""
