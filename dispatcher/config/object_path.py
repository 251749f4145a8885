"""Object paths: how settings name a class or a function of somebody else's."""

from __future__ import annotations

import re
from typing import Final

_OBJECT_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_object_path(text: str) -> bool:
    """Whether the text has the form ``package.module:name``. The object need not exist."""
    return _OBJECT_PATH.fullmatch(text) is not None
