"""Page reference: what an app puts into a page, so that the events of its session and user reach it and no other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dispatcher.errors import SettingsError
from dispatcher.secrecy.visitor import make_reference
from dispatcher.tracker.default import known_settings
from dispatcher.tracker.tracker import Tracker

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)
# The settings in which the secret was found, so that no page reads a file.
_known: list[tuple[Settings | None, bytes]] = []


def page_reference(*, session: object = None, user_id: object = None, hours: float = 24.0) -> str:
    """The text by which a page shows whose it is: for ``<meta name="dispatcher-visitor" content="…">``.

    It is signed, and holds no id. Without ``session`` and ``user_id``, both are those of the bound context, as its
    events have them. Does not block, but for reading settings the first time.

    Args:
        session: The session of the page, as events have it in their context.
        user_id: The user who is signed in, as events have it.
        hours: For how long it is taken; a page that is open for longer gets no events any more.

    Returns:
        The reference. Empty where nobody is known, or ``collector.secret`` is not set: then that is logged.

    Raises:
        SettingsError: Only with ``strict = true``: ``collector.secret`` is not set, or other settings are wrong.
    """
    if session is None and user_id is None:
        context = Tracker.resolve_context()
        session, user_id = context.get("session"), context.get("user_id")
    if session in (None, "") and user_id in (None, ""):
        return ""
    secret = _secret()
    return make_reference(secret, session=session, user_id=user_id, hours=hours) if secret else ""


def _secret() -> bytes:
    from dispatcher import config  # noqa: PLC0415 - no app that only emits reads it here
    from dispatcher.config.collector_secret import read_secret  # noqa: PLC0415

    given = known_settings()
    if _known and _known[0][0] is given:
        return _known[0][1]
    is_strict = False
    try:
        settings = config.load() if given is None else given
        is_strict = settings.strict
        secret = read_secret(settings)
        if not secret:
            raise SettingsError(["collector.secret is not set: `dispatcher settings check` says what to do"])
    except SettingsError as error:
        if is_strict:
            raise
        logger.error("pages get no reference of their visitor: %s", error)
        secret = b""
    _known[:] = [(given, secret)]
    return secret
