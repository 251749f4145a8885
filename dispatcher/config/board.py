"""The board's table: where it listens, who may look, and what its pages link to."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from dispatcher.config.base import Table, checked_by


def _check_login(login: SecretStr | None) -> None:
    for pair in login.get_secret_value().split(",") if login is not None else ():
        user, _, password = pair.partition(":")
        if not user or not password:
            raise ValueError("it must be user:password, neither of them empty; a comma separates two logins")


def _check_url(url: str | None) -> None:
    try:
        parts = urlsplit(url or "")
        is_good = url is None or (parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable())
    except ValueError:
        is_good = False
    if not is_good or "@" in (url or "") or " " in (url or ""):
        raise ValueError('it must be a URL such as "https://board.example.org", without a login in it')


#: The write key with which the page /shop sends to the collector of ``shop_url``. It opens nothing else.
SHOP_KEY: Final = "shop"


class BoardSettings(Table):
    """`dispatcher board`: the ledger as a page."""

    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on; `0.0.0.0` for all of IPv4.")
    port: int = Field(8091, ge=0, le=65535, description="The port to listen on; 0: any free one.")
    basic_auth: Annotated[SecretStr | None, checked_by(_check_login)] = Field(
        None,
        description="user:password; more than one separated by commas. Absent: it makes one for this machine alone.",
    )
    allow_control: bool = Field(
        False, description="Whether its buttons retry, pause, resume, replay and drop. Otherwise it only shows."
    )
    flower_url: Annotated[str | None, checked_by(_check_url)] = Field(
        None, description="Where people find Flower, for links to it. Absent: no links."
    )
    url: Annotated[str | None, checked_by(_check_url)] = Field(
        None, description="Where people find the board, for Flower's links to it. Absent: no links."
    )
    shop_url: Annotated[str | None, checked_by(_check_url)] = Field(
        None, description="The collector of the page /shop, set by `dispatcher up --shop`. Absent: no shop."
    )
