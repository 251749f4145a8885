"""Keys: all that dispatcher has in Redis, and what is in each. No other file builds a key.

The scripts in lua/ build theirs from the prefix; their heads have the same table, and a test compares both. Celery has
more in the same Redis: its own keys, and each destination's queue, a list whose key is the destination's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Key:
    """A key of each destination.

    Args:
        name: What stands behind the destination's prefix. It ends with a ``<word>`` where a destination has several.
        type: Redis' name for its type.
        contents: What is in it, and when it goes.
    """

    name: str
    type: Literal["hash", "zset", "string", "stream"]
    contents: str

    def of(self, destination: str, part: str = "") -> str:
        """The key of a destination.

        Args:
            destination: Its name; "*" for a pattern that SCAN takes.
            part: What stands in the place of ``<word>``; "*" for a pattern.
        """
        return f"{prefix(destination)}{self.name.partition('<')[0]}{part}"

    def destination_of(self, key: str) -> str:
        """Read the destination out of a key whose name is without a ``<word>``."""
        start, end = self.of("\0").split("\0")
        return key.removeprefix(start).removesuffix(end)


def prefix(destination: str) -> str:
    """What all keys of a destination, or of one of its slots, begin with. The braces keep them on one server."""
    return f"dispatcher:{{{destination}}}:"


BATCH: Final = Key(
    "batch:<id>",
    "hash",
    "a batch: packed (packing.py), n (how many events are left), example (one's name), attempts, claims (that ended "
    "with their lease, or go on), put_at, token (of the last claim, while nobody has said how it ended), error; "
    "bytes (of its events, unpacked, or more), without which it comes alone; finish (where it ends in its journal); "
    "first (how many events are settled). Where leases were lost over it: lost (how many in a row), within (one "
    "of its first so many events may be to blame), part (how many of these were handed out), condemned (that one is to "
    "become a dead letter)",
)
QUEUED: Final = Key(
    "queued",
    "zset",
    "batch id: when it was put; 0 for what goes first",
)
CLAIMED: Final = Key(
    "claimed",
    "zset",
    "batch id: when the lease runs out",
)
PARKED: Final = Key(
    "parked",
    "zset",
    "batch id: when it is due",
)
SINCE: Final = Key(
    "since",
    "zset",
    "batch id: when it was put; every batch that is not settled",
)
COUNTS: Final = Key(
    "counts",
    "hash",
    "the ledger, in events: accepted, delivered, dead, filtered, retried; queued, claimed, parked, posted; "
    "dead:<reason>, filtered:<reason>, of which dead:filed went to a file, and dead:unkept are only counted; "
    "dead_bytes of the dead letters, dead_limit (how many these may have), dead_cut (dead letters that lost their "
    "events to that). Then last_error, last_error_at, last_delivered_at; since: when it began to count; and "
    "commands: what people did to it, as JSON",
)
JOURNAL: Final = Key(
    "journal:<name>",
    "string",
    "the position up to which a journal was put; goes a week after it was last put or asked for, but not while a "
    "batch of it is open",
)
OPEN: Final = Key(
    "open:<journal>",
    "zset",
    "batch id: where it starts in the journal; its batches that are not settled",
)
RECENT_DEAD: Final = Key(
    "dead_letters:<journal>",
    "zset",
    "start of a range of the journal: when it left dead letters; each goes after ten seconds",
)
BREAKER: Final = Key(
    "breaker",
    "hash",
    "failures (in a row), openings (in a row), opened (openings in all), and while it is not closed: until, since, "
    "cause, error, probe (the token of the batch that may be tried), probe_until; and while it is paused: paused "
    "(since when), paused_until (0 without an end), pause_reason",
)
DEAD: Final = Key(
    "dead",
    "stream",
    "a dead letter each: reason, error, event (dead_event.py), attempts, at, bytes; answer where the destination said "
    "something; n where it stands for several events, which are gone",
)
FILING: Final = Key(
    "filing",
    "string",
    "there while a worker has the turn to take dead letters to a file; expires",
)
RING: Final = Key(
    "ring",
    "hash",
    "at: when a doorbell was sent that no claim has answered yet, the ring under way. Of the last claim: chained (its "
    "worker rings for what it leaves), events (how many it takes together; 0 where it joins no batches). Goes an hour "
    "after the last claim",
)
BELL: Final = Key(
    "bell",
    "string",
    "there while a bell has had its turn to ring; expires",
)
TURN: Final = Key(
    "turn:<destinations>",
    "string",
    'of "emit" alone: there while the bell of one worker looks at all destinations; expires',
)
RATE: Final = Key(
    "rate",
    "hash",
    "the rate limit: permits (in the bucket at the time `at`; below 0 where later ones are promised), at, until (no "
    "permit before), factor (of the rate that is used: 1, or less while it is slowed down), slowdowns (how often that"
    " happened), changed (when factor did), error (what the destination said then); per_second and burst as last "
    "asked with. Goes two days after the last permit",
)
WORKERS: Final = Key(
    "workers",
    "zset",
    "description of a worker that serves it (store/workers.py), as JSON: when it was last there; goes after a minute",
)
SLOTS: Final = Key(
    "slots",
    "zset",
    "of slot 0 alone: number of another slot that is in use: when a relay last had a journal there",
)
RETIRED: Final = Key(
    "retired",
    "hash",
    "the ledger of a slot that is being forgotten, until slot 0 has it; goes after a day",
)
REPORTER: Final = Key(
    "reporter",
    "string",
    "there while a worker has had its turn to report to Sentry; expires",
)
REPORTED: Final = Key(
    "reported",
    "hash",
    "what was reported to Sentry: dead:<reason> (how many dead letters), breaker (the cause of its opening)",
)
REPLAY: Final = Key(
    "replay:<log>",
    "string",
    "how far a log was replayed (replay/checkpoint.py), as JSON; goes after 30 days",
)
IDS: Final = Key(
    "ids",
    "string",
    'of "emit" alone: which ids are remembered, as JSON: slices (each with its id, hashes, when it began, n ids), the '
    "oldest first; dropped (slices of which hashes are left), next (id of a slice), early (how many ids were forgotten "
    "before their time); goes four windows after the last id",
)
IDS_OF_SLICE: Final = Key(
    "ids:<slice>",
    "hash",
    'of "emit" alone: part of a slice: digest of an event\'s id: where the event came first (store/event_ids.py); goes '
    "with its slice, at the latest after two windows",
)
IDS_ASKED: Final = Key(
    "asked:<journal>",
    "string",
    'of "emit" alone: the position up to which the ids of a journal were asked for; goes after a week',
)
DUPLICATES: Final = Key(
    "duplicates",
    "hash",
    'of "emit" alone: name of a source of the collector: how many of its events had come before (store/duplicates.py)',
)
DUPLICATES_COUNTED: Final = Key(
    "duplicates:<journal>",
    "string",
    'of "emit" alone: the position up to which the duplicates of a journal were counted; goes after a week',
)
DEPRECATED_CALLS: Final = Key(
    "deprecated_calls:<week>",
    "hash",
    'of "emit" alone: call, event, script and course, as a JSON list, or nothing for what had no room: how often in '
    "the week, and when last (store/deprecated_calls.py); goes after 26 weeks",
)
COUNTED: Final = Key(
    "counted:<journal>",
    "string",
    'of "emit" alone: the position up to which the deprecated calls of a journal were counted; goes after a week',
)
POSTED: Final = Key(
    "posted",
    "zset",
    "mailbox and id of an event that waits for its visitor's page: until when",
)
MAILBOX: Final = Key(
    "mailbox:<name>",
    "hash",
    "a visitor's events that wait for a page: c:<id> (the calls, behind when it was posted), e:<id> (the "
    "event), s:<id> (why the last page made no calls, and how many have tried), l:<id> (the mailbox of the "
    "browser that has it for now, and until when); bytes (of all of them); goes with its last event",
)
ACKNOWLEDGED: Final = Key(
    "acknowledged",
    "zset",
    "status, mailbox and id of an event that a page acknowledged before it was posted: when; each goes when it "
    "is posted, or after a day",
)
VIEWERS: Final = Key(
    "viewers",
    "zset",
    'of "emit" alone: what somebody who looks at live events wants (live/lease.py), as JSON: until when; goes with the '
    "last of them",
)
VIEWED: Final = Key(
    "viewed:<viewer>",
    "stream",
    'of "emit" alone: live events for one viewer: matched (how many it wanted), shown (how many of them it is shown), '
    "items (these, and deliveries, as JSON); goes with its viewer",
)
NONE: Final = Key(
    "none",
    "string",
    "never there: deleted first where a command has to come through at maxmemory",
)

#: All of them.
KEYS: Final = (
    BATCH,
    QUEUED,
    CLAIMED,
    PARKED,
    SINCE,
    COUNTS,
    JOURNAL,
    OPEN,
    RECENT_DEAD,
    BREAKER,
    DEAD,
    FILING,
    RING,
    BELL,
    TURN,
    RATE,
    WORKERS,
    SLOTS,
    RETIRED,
    REPORTER,
    REPORTED,
    REPLAY,
    IDS,
    IDS_OF_SLICE,
    IDS_ASKED,
    DUPLICATES,
    DUPLICATES_COUNTED,
    DEPRECATED_CALLS,
    COUNTED,
    POSTED,
    MAILBOX,
    ACKNOWLEDGED,
    VIEWERS,
    VIEWED,
    NONE,
)
#: The states of a batch that waits.
STATES: Final = (QUEUED, CLAIMED, PARKED)

#: Of no destination, and never there: deleted by a worker to see whether Redis takes writes.
PROBE: Final = "dispatcher:none"
