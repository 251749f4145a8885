"""Page data: what of a value may stand on a page, where every script can read it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

#: What ``for_page`` gives for a value that no page gets.
NOT_FOR_PAGES: Final = object()

# Text that has an e-mail address in it, also in a URL. Not exact: what only looks like one is kept back too.
_EMAIL: Final = re.compile(r"[^\s@]{1,64}(?:@|%40)[\w-]{1,63}\.\w", re.ASCII)
# What of a URL may say whom it is about: https://support.google.com/analytics/answer/6366371
_WORD: Final = re.compile(r"\S+")
_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_QUERY: Final = re.compile(r"[?#]")

#: Fields of orders and products, as Google, Meta and Segment call them.
ECOMMERCE: Final = (
    *("affiliation", "brand", "cart_id", "category", "checkout_id", "coupon", "currency", "discount", "ecommerce"),
    *("index", "item_category", "item_id", "item_name", "item_variant", "items", "order_id", "position", "price"),
    *("product_id", "products", "quantity", "revenue", "shipping", "sku", "subtotal", "tax", "total"),
    *("transaction_id", "value", "variant"),
)


def _without_query(word: re.Match[str]) -> str:
    """A word, without what stands in it behind the path of a URL."""
    text = word[0]
    url = _URL.search(text)
    query = None if url is None else _QUERY.search(text, url.end())
    return text if query is None else text[: query.start()]


def for_page(value: Any) -> Any:
    """The value without e-mail addresses, and URLs without what is behind their path; or ``NOT_FOR_PAGES``."""
    if isinstance(value, str):
        shortened = _WORD.sub(_without_query, value) if "://" in value else value
        return NOT_FOR_PAGES if ("@" in shortened or "%40" in shortened) and _EMAIL.search(shortened) else shortened
    if isinstance(value, dict):
        kept = {key: for_page(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not NOT_FOR_PAGES}
    if isinstance(value, list):
        return [inner for inner in map(for_page, value) if inner is not NOT_FOR_PAGES]
    return value


def withheld(name: str, value: Any) -> Iterator[str]:
    """Where ``for_page`` leaves something out within a value, as ``name.key`` and ``name[0]``."""
    parts: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        parts = [(f"{name}.{key}", inner) for key, inner in value.items()]
    elif isinstance(value, list):
        parts = [(f"{name}[{place}]", inner) for place, inner in enumerate(value)]
    for path, inner in parts:
        if for_page(inner) is NOT_FOR_PAGES:
            yield path
        else:
            yield from withheld(path, inner)
