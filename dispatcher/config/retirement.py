"""The table of `dispatcher retirement`: where edX's retirement pipeline says who is to be forgotten."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, SecretStr

from dispatcher.config.base import Table, checked_by

# Characters, of which a path may hold some. Shorter ones could be found by trying.
_MIN_TOKEN: Final = 20
_TOKEN_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def _check_token(token: SecretStr | None) -> None:
    text = "" if token is None else token.get_secret_value()
    if token is not None and (len(text) < _MIN_TOKEN or not _TOKEN_CHARACTERS.issuperset(text)):
        raise ValueError(
            f"it must have {_MIN_TOKEN} characters or more, letters, digits and -_.~ alone, since it stands in a URL: "
            'make one with `python3 -c "import secrets; print(secrets.token_urlsafe(32))"`'
        )


class RetirementSettings(Table):
    """`dispatcher retirement`: takes requests of edX's retirement pipeline."""

    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on; `0.0.0.0` for all of IPv4.")
    port: int = Field(8092, ge=0, le=65535, description="The port to listen on; 0: any free one.")
    token: Annotated[SecretStr | None, checked_by(_check_token)] = Field(
        None, description="What stands in the path, and proves that the pipeline asks. Absent: it does not start."
    )
    waits: bool = Field(
        False,
        description="Answer 503 until the person is forgotten, so that the pipeline goes on only then; otherwise 202.",
    )
