"""Credential: a key or a password as people paste it, without what sticks to it on the way. Pure."""

from __future__ import annotations

import unicodedata
from typing import Any, Final, get_args

from pydantic import SecretBytes, SecretStr

#: Straight and typographic, as word processors, chats and shells put them around a word.
QUOTES: Final = frozenset(
    "\"'`"
    "\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f"
    "\u2032\u2033\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f\uff02\uff07"
)
# General categories of Unicode: controls, formats (the byte order mark, joiners, zero-width blanks), line ends, blanks.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})

_QUOTED: Final = (
    "it has quotation marks around it: take them away (`docker run --env-file` and Kubernetes keep those of a file)"
)


class SecretText(SecretStr):
    """A secret that may hold blanks and letters of all languages, such as a passphrase, as the type of an option."""


def trim(text: str) -> str:
    """The text without the blanks, line ends, byte order marks and invisible characters around it."""
    begin, end = 0, len(text)
    while begin < end and _is_invisible(text[begin]):
        begin += 1
    while begin < end and _is_invisible(text[end - 1]):
        end -= 1
    return text[begin:end]


def check_credential(text: str, *, is_single_word: bool) -> None:
    """Refuse what no credential is, so that nothing is sent with it.

    Args:
        text: It is trimmed. An empty one counts as not set.
        is_single_word: Whether blanks, and letters outside ASCII, cannot be part of it, as in the keys of vendors.

    Raises:
        ValueError: The message holds no part of the text.
    """
    if not text:
        return
    quoted = {text[0], text[-1]} & QUOTES if is_single_word else {text[0], text[-1]} <= QUOTES and len(text) > 1
    if quoted:
        raise ValueError(_QUOTED)
    if any(_is_invisible(character) and character != " " for character in text):
        raise ValueError("it has a line end or an invisible character in it: copy it again, as one line")
    # While one secret of a webhook replaces another there are two, with a blank between.
    words = text.split(" ") if text.startswith("whsec_") else [text]
    if is_single_word and any(" " in word or not word for word in words):
        raise ValueError("it has a blank in it: copy it again")
    if is_single_word and not text.isascii():
        raise ValueError("it has characters that credentials do not have: copy it again")


def clean(value: Any, *, is_single_word: bool = False) -> Any:
    """The value of a secret option, trimmed; what is neither text nor a secret stays as it is.

    Args:
        value: A text or a secret, or a table or list of them, whose values may be sentences.
        is_single_word: As ``check_credential`` has it.

    Raises:
        ValueError: As ``check_credential``.
    """
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, str):
        text = trim(value)
        check_credential(text, is_single_word=is_single_word)
        return text
    if isinstance(value, dict):
        cleaned = {}
        for key, item in value.items():
            try:
                cleaned[key] = clean(item)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        return cleaned
    return [clean(item) for item in value] if isinstance(value, list | tuple) else value


def secret_types(annotation: Any) -> set[type]:
    """The types of secrets in a field's annotation, at any depth; empty for other fields."""
    if isinstance(annotation, type):
        return {annotation} if issubclass(annotation, SecretStr | SecretBytes) else set()
    return {found for inner in get_args(annotation) for found in secret_types(inner)}


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE
