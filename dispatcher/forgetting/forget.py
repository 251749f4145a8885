"""Forget: look for a person in every place, keep the person from coming back, take the person out, and look again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.destinations.build import build
from dispatcher.destinations.deletion import describe
from dispatcher.destinations.types import load_type
from dispatcher.errors import DispatcherError
from dispatcher.forgetting.change import Change, Deletion
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Place, Watcher
from dispatcher.forgetting.places.bucket_folders import folder_places
from dispatcher.forgetting.places.claimed import Claimed
from dispatcher.forgetting.places.dead import Dead, DeadFiles
from dispatcher.forgetting.places.exports import Exports
from dispatcher.forgetting.places.outboxes import Outboxes
from dispatcher.forgetting.places.waiting import Posted, Waiting
from dispatcher.forgetting.pseudonymisation import Pseudonymisation
from dispatcher.forgetting.receipt import BEYOND, Receipt, keep, new_id
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_letter_files import directory_of
from dispatcher.suppression.suppression_list import DIRECTORY, REFRESH_SECONDS, suppression_list
from dispatcher.version import __version__

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool
    from dispatcher.exports.pseudonyms import Pseudonyms

# How long relays and workers get to see that somebody is on the list, and to end what they have begun.
_SEEN_SECONDS: Final = 2 * REFRESH_SECONDS


class ForgetRefusedError(DispatcherError):
    """Nothing was taken out, since that may be a slip of the keyboard, or is held; says what to do."""


def places_of(
    settings: Settings, pool: RedisPool | None, directories: Sequence[Path] = (), buckets: Sequence[str] = ()
) -> list[Place]:
    """Every place of a deployment, in the order in which a person is taken out of them: as events flow.

    Args:
        settings: Where the places are.
        pool: The batch store's Redis; None leaves out what is in it.
        directories: Exports and logs besides those that the settings name.
        buckets: Addresses of folders of buckets with such, besides those that the settings name.

    Raises:
        SettingsError: A destination's type cannot be imported.
    """
    names = [*settings.destinations, NOT_TAKEN]
    destinations = [build(name, table) for name, table in settings.destinations.items()]
    kept_here = frozenset(destination.name for destination in destinations if destination.deletion == "here")
    places: list[Place] = [Outboxes(settings.outbox_directory)]
    if pool is not None:
        browsers = list(settings.browser_destinations)
        places += [Waiting(pool, names, kept_here), Posted(pool, browsers), Dead(pool, names, kept_here)]
    places.append(DeadFiles(directory_of(settings.state_directory), kept_here))
    if pool is not None:
        longest = {one.name: one.longest_seconds(one.options) for one in destinations if one.deletion == "here"}
        places.append(Claimed(pool, {name: seconds for name, seconds in longest.items() if seconds}))
    for destination in destinations:
        destination.state_directory = settings.state_directory
        places += destination.places()
    # What exports to buckets and tables have under way on this host, with their broken lines.
    own = settings.state_directory / "exports"
    under_way = sorted(path for path in own.glob("*") if path.is_dir())
    places += [Exports(path) for path in dict.fromkeys((*settings.forgetting.directories, *directories, *under_way))]
    exported_to: frozenset[str] = frozenset()
    if any(own.glob("*/bucket.json")):
        from dispatcher.forgetting.places.bucket_exports import BucketExports  # noqa: PLC0415 - the extra

        known = BucketExports(own)
        places.append(known)
        exported_to = known.urls()
    named = {url.rstrip("/") for url in (*settings.forgetting.buckets, *buckets)}
    places += folder_places(sorted(named - exported_to), settings.state_directory)
    if any(own.glob("*/iceberg.json")):
        from dispatcher.forgetting.places.iceberg import IcebergTables  # noqa: PLC0415 - the extra

        places.append(IcebergTables(own))
    return places


def look(places: Sequence[Place], person: Person, watch: Watcher) -> Iterator[Found]:
    """What there is of a person. Changes nothing."""
    for place in places:
        yield from place.look(person, watch)


def forget(
    settings: Settings,
    person: Person,
    places: Sequence[Place],
    *,
    do: bool,
    max_share: float | None = None,
    pseudonyms: Pseudonyms | None = None,
    watch: Watcher = lambda _what, _done, _of: None,
    seen_seconds: float = _SEEN_SECONDS,
) -> Receipt:
    """Look for a person, and take the person out. Blocks for as long as reading every place takes, three times.

    Done again, or after a kill, it goes on with what is left. For one process of a host at a time.

    Args:
        settings: Where the list and the receipts are.
        person: Who is to be forgotten.
        places: Where to look, of ``places_of``.
        do: Take the person out; False: only look.
        max_share: The fraction of all events that may name one person. None: the settings'.
        pseudonyms: The person's events stay under these, where they are kept; None: they go.
        watch: Told how far it is.
        seen_seconds: How long relays and workers get to see the list.

    Returns:
        What was found, or done; ``problems`` says what is left.

    Raises:
        ForgetRefusedError: More events than ``max_share`` name the person, or a hold does. Nothing was changed.
        StoreUnavailableError: Redis does not answer; what was done before stays done.
    """
    suppressed = suppression_list(settings.state_directory)
    change: Change = Deletion() if pseudonyms is None else Pseudonymisation(person, pseudonyms)
    receipt = Receipt(
        id=new_id(),
        at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        version=__version__,
        did=do,
        how=change.how,
        identifiers={field: len(given) for field in Person.__struct_fields__ if (given := getattr(person, field))},
        hashes=suppressed.hashes_of(person.identifiers) if do else [],
        found=list(look(places, person, watch)),
        beyond=(*BEYOND, *_at_destinations(settings)),
    )
    if not do:
        return receipt
    _check(settings, person, receipt, settings.forgetting.max_share if max_share is None else max_share)
    # First of all: what is taken out must not come back, not even if this is killed in the middle.
    suppressed.add(person.identifiers, receipt=receipt.id)
    time.sleep(seen_seconds)
    receipt.found = [found for place in places for found in place.forget(person, change, watch)]
    receipt.left = [found for found in look(places, person, watch) if found.events or found.left]
    keep(receipt, settings.state_directory / DIRECTORY / "receipts")
    return receipt


def _at_destinations(settings: Settings) -> Iterator[str]:
    """What is left to do at each destination: those who were given data have to be told (GDPR, Art. 19)."""
    for name, table in settings.destinations.items():
        type_ = load_type(table.type)
        if type_.deletion != "here":
            yield describe(name, type_.deletion, type_.deletion_steps)
        elif type_.deletion_steps:
            yield f"{name}: {type_.deletion_steps}"


def _check(settings: Settings, person: Person, receipt: Receipt, max_share: float) -> None:
    for name, hold in settings.retention.holds.items():
        if not person.identifiers.isdisjoint(hold.users):
            raise ForgetRefusedError(
                f"the legal hold {name} keeps this person: {hold.reason}. Take retention.holds.{name} away first"
            )
    if receipt.share > max_share:
        raise ForgetRefusedError(
            f"{receipt.events:,} of {receipt.of:,} events name this person, which is {receipt.share:.1%} and more than "
            f"{max_share:.1%}. Look whether each identifier is right; if so, allow it with --max-share"
        )
