"""Extras: the optional parts of dispatcher, and the command that brings one however dispatcher was installed."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, requires
from typing import Final

_DISTRIBUTION: Final = "event-dispatcher"
# `name>=1; marker and extra == 'metrics'`, as a wheel's metadata has it.
_REQUIREMENT: Final = re.compile(r"""(?P<requirement>[^;]+);.*\bextra == ["'](?P<extra>\w+)["']""")
_CHECKOUT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def install_command(extra: str) -> str:
    """The command that installs what an extra needs, such as ``pip install 'prometheus-client>=0.21'``.

    It names the packages that the extra stands for and not dispatcher with the extra: the distribution may come from a
    checkout, a wheel or an index, and pip would look for it in the index only.

    Args:
        extra: One of ``[project.optional-dependencies]`` in pyproject.toml.

    Returns:
        Words for a shell. A checkout that is not installed has no metadata: then they install the checkout.
    """
    try:
        lines = requires(_DISTRIBUTION) or ()
    except PackageNotFoundError:
        lines = ()
    matches = [match for line in lines if (match := _REQUIREMENT.fullmatch(line)) and match["extra"] == extra]
    if not matches:
        return f"pip install -e '{_CHECKOUT}[{extra}]'"
    return " ".join(["pip", "install", *(f"'{match['requirement'].strip()}'" for match in matches)])
