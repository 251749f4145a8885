"""Redis cluster: many commands in one round trip to each of its servers that they concern, and none carried out twice.

A cluster has 16 384 slots, and each key belongs to one by its name (or what stands in braces in it); each slot belongs
to one primary: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MovedError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from dispatcher.connections.cluster_address import ClusterAddress
from dispatcher.connections.deadline import Deadline
from dispatcher.connections.redis_node import Command, Exchange, RedisNode

_SLOTS: Final = 16_384
# Seconds to wait where the cluster cannot carry out a command at this moment; then it is refused. A failover takes
# longer, and whoever calls tries again.
_PAUSES: Final = (0.02, 0.05, 0.1, 0.2)
# How often a command is sent on to another server before it is refused.
_REDIRECTIONS: Final = 8

# Commands of no key. Those of the second kind concern every server.
_KEYLESS: Final = frozenset({"CLUSTER", "CONFIG", "INFO", "TIME"})
_EVERYWHERE: Final = frozenset({"PING", "SCRIPT"})
_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA"})

#: Host and port of a server.
Place = tuple[str, int]


class SlotUnservedError(ClusterDownError):
    """A slot belongs to no server at the moment."""


class RedisCluster:
    """The servers of a Redis Cluster. Connects to nothing before the first command. Safe in threads and after a fork.

    Which server has which slot is asked at first, and again where a server sends a command on or does not answer. What
    is sent on was not carried out; no other command is sent twice. Only primaries are asked.

    Args:
        address: Where to ask first.
        timeout_seconds: For connecting to a server. A call, with all that it is sent on to, takes twice that at most,
            and the time to connect to one more server.
    """

    def __init__(self, address: ClusterAddress, *, timeout_seconds: float) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._nodes: dict[Place, RedisNode] = {}
        # By slot. Replaced as a whole, so that no thread sees half of it.
        self._owners: list[Place | None] = []
        self._is_stale = True
        # The servers to ask which one has what: the last that answered is the first.
        self._known: list[Place] = [(node.host, node.port or 6379) for node in address.nodes]

    def send(self, commands: Sequence[Command], answers: Sequence[Any] = ()) -> list[Any]:
        """Send several commands, each to its server, and wait for their answers.

        Those of one slot are carried out in order. Blocks as the class says.

        Args:
            commands: What to send.
            answers: Those that one server has given already, of which it redirected some.

        Returns:
            The answer to each command, and a ResponseError where it was refused.

        Raises:
            RedisError, OSError: A server cannot be reached, or did not answer in time. Some of the commands may have
                been carried out.
        """
        deadline = Deadline(2 * self._timeout_seconds)
        found = list(answers) or [None] * len(commands)
        unanswered = [index for index in range(len(commands)) if not answers or is_redirected(answers[index])]
        pauses = iter(_PAUSES)
        asked: dict[int, Place] = {}
        for _ in range(_REDIRECTIONS):
            if self._is_stale:
                self._ask_for_owners(deadline)
            self._send_once(commands, unanswered, asked, found, deadline)
            unanswered = [index for index in unanswered if is_redirected(found[index])]
            if not unanswered:
                break
            asked = {}
            if self._heed(commands, found, unanswered, asked):
                pause = next(pauses, None)
                if pause is None:
                    break
                time.sleep(min(pause, deadline.left()))
        return found

    def primaries(self) -> list[Place]:
        """Every server that has slots, in the order of these. Blocks, and raises, as ``send`` does."""
        if self._is_stale:
            self._ask_for_owners(Deadline(2 * self._timeout_seconds))
        return list(dict.fromkeys(place for place in self._owners if place is not None))

    def node(self, place: Place) -> RedisNode:
        """The connections to one server."""
        node = self._nodes.get(place)
        if node is None:
            url = self._address.at(*place).redis_url()
            node = self._nodes.setdefault(place, RedisNode.at(url, timeout_seconds=self._timeout_seconds))
        return node

    def url_of(self, place: Place) -> str:
        """The URL of one server, with its login."""
        return self._address.at(*place).redis_url()

    def close(self) -> None:
        """Close all connections. May be called twice; a later command connects."""
        for node in list(self._nodes.values()):
            node.close()

    def _send_once(
        self,
        commands: Sequence[Command],
        indexes: Iterable[int],
        asked: dict[int, Place],
        found: list[Any],
        deadline: Deadline,
    ) -> None:
        """Send commands to all their servers at once, and put the answers into ``found``."""
        exchanges: list[tuple[Place, list[int | None], Exchange]] = []
        failure: Exception | None = None
        for place, of_place in self._split(commands, indexes, asked, found).items():
            parts = [("ASKING",) if index is None else commands[index] for index in of_place]
            try:
                exchanges.append((place, of_place, self.node(place).start(parts, deadline)))
            except (RedisError, OSError) as error:
                self._suspect(place)
                failure = failure or error
        try:
            while exchanges:
                place, of_place, exchange = exchanges.pop(0)
                try:
                    answers = exchange.finish(deadline)
                except (RedisError, OSError) as error:
                    self._suspect(place)
                    failure = failure or error
                    continue
                for index, answer in zip(of_place, answers, strict=True):
                    if index is not None and not isinstance(found[index], ResponseError):
                        found[index] = answer
        finally:
            for _, _, exchange in exchanges:
                exchange.abandon()
        if failure is not None:
            raise failure

    def _split(
        self, commands: Sequence[Command], indexes: Iterable[int], asked: dict[int, Place], found: list[Any]
    ) -> dict[Place, list[int | None]]:
        """The commands of each server, by their index, in order. None stands for ASKING before one."""
        by_place: dict[Place, list[int | None]] = {}
        everywhere: list[int | None] = []
        for index in indexes:
            found[index] = None
            command = commands[index]
            if command[0] in _EVERYWHERE:
                everywhere.append(index)
                continue
            if index in asked:
                by_place.setdefault(asked[index], []).extend((None, index))
                continue
            place = self._place_of(command)
            if place is None:
                found[index] = SlotUnservedError("CLUSTERDOWN no server has the slot of its key")
            else:
                by_place.setdefault(place, []).append(index)
        if everywhere:
            # Where other commands go too, these are for their sake, such as scripts that are to be known there.
            for place in list(by_place) or self.primaries():
                by_place[place] = [*everywhere, *by_place.get(place, ())]
        return by_place

    def _place_of(self, command: Command) -> Place | None:
        if command[0] in _KEYLESS:
            return self.primaries()[0]
        key = command[3] if command[0] in _SCRIPTS else command[1]
        return self._owners[key_slot(key if isinstance(key, bytes) else str(key).encode())]

    def _heed(
        self, commands: Sequence[Command], found: list[Any], unanswered: Iterable[int], asked: dict[int, Place]
    ) -> bool:
        """Learn from commands that were redirected; those to be asked for elsewhere come into ``asked``.

        Returns:
            Whether one has to wait.
        """
        has_to_wait = False
        for index in unanswered:
            error = found[index]
            if isinstance(error, MovedError):
                self._is_stale = True
                if error.host:
                    # The new owner knows best who has what.
                    place = (error.host, error.port)
                    self._known = [place, *(other for other in self._known if other != place)]
            elif isinstance(error, AskError) and commands[index][0] not in _SCRIPTS:
                asked[index] = (error.host, error.port)
            else:
                # A script looks at many keys, of which some may be here and some there while a slot is moved, and would
                # take those for missing. The one that it names is never there, so that no server takes it meanwhile.
                self._is_stale = has_to_wait = True
        return has_to_wait

    def _suspect(self, place: Place) -> None:
        """A server did not answer: ask others first who has what now."""
        self._is_stale = True
        self._known = [*(other for other in self._known if other != place), place]

    def _ask_for_owners(self, deadline: Deadline) -> None:
        """Ask one server after another which server has which slot, until one answers."""
        failure: Exception | None = None
        for place in list(self._known):
            try:
                # Not all of the time for one that may be silent.
                share = deadline.within(deadline.left() / 2)
                (answer,) = self.node(place).start([("CLUSTER", "SLOTS")], share).finish(share)
            except (RedisError, OSError) as error:
                # That one refuses the login says more than that another one is not there.
                if failure is None or isinstance(error, AuthenticationError | AuthorizationError):
                    failure = error
                continue
            if isinstance(answer, ResponseError):
                failure = answer
                continue
            self._owners = _read_slots(answer, place)
            primaries = dict.fromkeys(owner for owner in self._owners if owner is not None)
            starts = [(node.host, node.port or 6379) for node in self._address.nodes]
            self._known = list(dict.fromkeys([*primaries, *starts]))
            self._is_stale = False
            return
        assert failure is not None
        raise failure


def is_redirected(answer: Any) -> bool:
    """Whether an answer says that a server of a cluster did not carry the command out, but might later, or another."""
    return isinstance(answer, AskError | TryAgainError | ClusterDownError)


def _read_slots(answer: Sequence[Any], asked: Place) -> list[Place | None]:
    """Read the answer to CLUSTER SLOTS: the owner of each slot.

    A server that does not know its own name gives none: it is the one that was asked.
    """
    owners: list[Place | None] = [None] * _SLOTS
    for first, last, primary, *_ in answer:
        host = (primary[0] or b"").decode()
        place = (asked[0] if host in ("", "?") else host, int(primary[1]))
        owners[first : last + 1] = [place] * (last + 1 - first)
    return owners
