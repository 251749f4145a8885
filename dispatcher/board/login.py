"""Login: who may look at the board, by HTTP's basic authentication (RFC 7617), as Flower does it."""

from __future__ import annotations

import binascii
import hmac
import secrets
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from dispatcher.connections.urls import is_local
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.config import Settings

#: The user whose password is made, where none is set.
LOCAL_USER: Final = "dispatcher"
# Bytes of a header beyond which nobody looks at it.
_LONGEST_HEADER: Final = 1_000


class Logins:
    """The logins that are let in.

    Args:
        text: user:password, more than one separated by commas; checked by the settings.
    """

    def __init__(self, text: str) -> None:
        self._logins = [login.encode() for login in text.split(",")]

    def user(self, header: bytes) -> str | None:
        """The user whom a request's Authorization header names; None where the login is unknown.

        How long it takes does not depend on how much of a login is right.
        """
        scheme, _, credentials = header[:_LONGEST_HEADER].partition(b" ")
        if scheme.lower() != b"basic":
            return None
        try:
            given = b64decode(credentials.strip(), validate=True)
        except (binascii.Error, ValueError):
            return None
        # All of them, so that the place of the right one is not told either.
        matches = [login for login in self._logins if hmac.compare_digest(login, given)]
        return matches[0].partition(b":")[0].decode("utf-8", "replace") if matches else None


def find_login(settings: Settings) -> tuple[str, str]:
    """The login of the settings; or one that is made once and kept, for a board that only this machine reaches.

    Returns:
        user:password, and the password to print where it was made here; empty where the settings have it.

    Raises:
        SettingsError: Other machines would reach it, and the settings have no login.
        OSError: The password cannot be kept in the state directory.
    """
    table = settings.board
    if table.basic_auth is not None:
        return table.basic_auth.get_secret_value(), ""
    if not is_local(table.host):
        raise SettingsError(
            [
                f"board.basic_auth: other machines reach the board at {table.host}, and it shows who is down and why: "
                "set DISPATCHER_BOARD__BASIC_AUTH=user:password, or listen on 127.0.0.1"
            ]
        )
    password = kept_password(settings.state_directory / "board-password")
    return f"{LOCAL_USER}:{password}", password


def kept_password(path: Path) -> str:
    """The password in a file, which is made with one if it is not there. Raises OSError where it cannot be kept."""
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if not kept:
        kept = secrets.token_urlsafe(12)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(kept)
    return kept
