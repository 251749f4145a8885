"""Visitor: whose page is whose. Mailboxes have names that tell nobody, and pages show who they are by a reference.

A page of an anonymous visitor has 128 random bits of its own, which nobody can guess, and from which the name of its
mailbox is made with the collector's secret. For a session or a user of the site the app makes a reference, signed with
that secret. Neither name nor reference holds an id. Pure, but for the clock.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

#: Where the context of a page's event says to which mailbox it belongs. The collector puts it there, and no page can;
#: neither the tracking log nor a vendor gets it.
CONTEXT_KEY: Final = "collector_mailbox"
#: References beyond which a page's are not read.
MAX_REFERENCES: Final = 4
# 128 bits: enough that nobody finds a second one.
_DIGITS: Final = 32
_OWN: Final = re.compile(r"p_([0-9a-f]{32})")
_SIGNED: Final = re.compile(r"v_([0-9a-f]{1,12})((?:_[0-9a-f]{32}){1,4})_([0-9a-f]{32})")
_NAME: Final = re.compile(r"[0-9a-f]{32}")


def mailbox_of(secret: bytes, kind: str, value: object) -> str:
    """The name of a mailbox: of a ``session``, a ``user``, or a page's own ``page`` of random bits."""
    return _sign(secret, f"mailbox\0{kind}\0{value}")


def mailbox_of_context(secret: bytes, context: Mapping[str, Any]) -> str | None:
    """The mailbox of an event by its context: that of the page it came from, else its session's, else its user's."""
    of_page = context.get(CONTEXT_KEY)
    if isinstance(of_page, str) and _NAME.fullmatch(of_page):
        return of_page
    for kind, key in (("session", "session"), ("user", "user_id")):
        value = context.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return mailbox_of(secret, kind, value)
    return None


def make_reference(secret: bytes, *, session: object = None, user_id: object = None, hours: float = 24.0) -> str:
    """The text by which a page shows that it is of this session and user. Holds neither.

    Args:
        secret: The collector's.
        session: As events have it in their contexts; None for none.
        user_id: As events have it.
        hours: For how long it is taken.
    """
    given = (("session", session), ("user", user_id))
    names = [mailbox_of(secret, kind, value) for kind, value in given if value not in (None, "")]
    text = "_".join((f"v_{int(time.time() + hours * 3600):x}", *names))
    return f"{text}_{_sign(secret, text)}"


def read_references(secret: bytes, references: Iterable[object]) -> tuple[list[str], str]:
    """The mailboxes that a page may look into, and what is wrong with the references; empty where nothing is.

    Returns:
        The names, in order; and ``unknown_visitor``, ``forged_visitor`` or ``expired_visitor``. Those of good
        references count where others are bad.
    """
    names: list[str] = []
    problem = ""
    for place, reference in enumerate(references):
        if place >= MAX_REFERENCES or not isinstance(reference, str):
            problem = "forged_visitor"
            break
        own = _OWN.fullmatch(reference)
        if own is not None:
            names.append(mailbox_of(secret, "page", own[1]))
            continue
        signed = _SIGNED.fullmatch(reference)
        if signed is None or not hmac.compare_digest(_sign(secret, reference[: -_DIGITS - 1]), signed[3]):
            problem = "forged_visitor"
        elif int(signed[1], 16) < time.time():
            problem = problem or "expired_visitor"
        else:
            names += signed[2].strip("_").split("_")
    return list(dict.fromkeys(names)), problem or ("" if names else "unknown_visitor")


def _sign(secret: bytes, text: str) -> str:
    return hmac.digest(secret, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:_DIGITS]
