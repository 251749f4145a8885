"""Fuzzing: attacks a target from several threads for a while, and collects what is wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from tests.fuzz.attack import Attack, Make, Seed
from tests.fuzz.bodies import BODIES, make_bodies
from tests.fuzz.judge import judge
from tests.fuzz.raw import make_raw
from tests.fuzz.sender import Result, send
from tests.fuzz.target import Target

# Attacks at the same time. Most of them wait.
_THREADS: Final = 24
# So many attacks before memory is looked at for the first time: buffers and caches have their size then.
_WARM: Final = 300
# More of them say nothing new.
_MAX_FINDINGS: Final = 50
_SHOWN_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Args:
        story: In words.
        number: Of the attack; None for what was found at the end.
        kind: The strategy of the attack.
        sent: The beginning of it.
    """

    story: str
    number: int | None = None
    kind: str = ""
    sent: bytes = b""


@dataclass(slots=True)
class Report:
    """What was done and found."""

    seed: int
    findings: list[Finding] = field(default_factory=list)
    attacks: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    grown_bytes: int = 0
    notes: list[str] = field(default_factory=list)


def all_strategies(seeds: Sequence[Seed], *, has_raw: bool = True) -> dict[str, Make]:
    """Every strategy by name, for what a target takes.

    Args:
        seeds: Good requests.
        has_raw: Whether those are among them that send what is HTTP only in part.
    """
    return make_bodies(seeds) | (make_raw(seeds) if has_raw else {})


def make_attack(strategies: dict[str, Make], seed: int, number: int) -> Attack:
    """One attack. The same numbers make the same one."""
    chance = Random(f"{seed}:{number}")
    # Wrong bodies take less time than wrong bytes, and find more.
    kind = chance.choices(list(strategies), [4 if name in BODIES else 1 for name in strategies])[0]
    return replace(strategies[kind](chance, number), kind=kind)


class Fuzzer:
    """Attacks one target.

    Args:
        target: Open.
        seed: Of all choices.
        max_growth_bytes: How much the memory of its process may grow once it is warm.
    """

    def __init__(self, target: Target, *, seed: int, max_growth_bytes: int) -> None:
        self._target = target
        self._max_growth_bytes = max_growth_bytes
        self._strategies: Final = all_strategies(target.seeds, has_raw=target.has_raw)
        self._lock = threading.Lock()
        self._next = 0
        self._unharmed: set[str] = set()
        self.report: Final = Report(seed)

    def attack(self, seconds: float, say: Callable[[int, int], None] = lambda done, found: None) -> None:
        """Attack for so long. Blocks.

        Args:
            seconds: How long attacks begin.
            say: Called now and then with the number of attacks and of findings.
        """
        ends_at = time.monotonic() + seconds
        warm_bytes = 0

        def go_on() -> None:
            while time.monotonic() < ends_at:
                with self._lock:
                    number = self._next
                    self._next += 1
                self.play(number)

        with ThreadPoolExecutor(_THREADS) as pool:
            running = [pool.submit(go_on) for _ in range(_THREADS)]
            while not all(future.done() for future in running):
                time.sleep(0.1)
                say(self._next, len(self.report.findings))
                if not warm_bytes and (self._next >= _WARM or time.monotonic() >= ends_at):
                    warm_bytes = self._memory()
        for future in running:
            future.result()
        if warm_bytes:
            self.report.grown_bytes = self._memory() - warm_bytes

    def play(self, number: int) -> tuple[Attack, Result]:
        """Send one attack and judge what comes. Safe in threads."""
        attack = make_attack(self._strategies, self.report.seed, number)
        result = send(attack, self._target.port)
        stories = [*judge(attack, result, self._target.description), *self._target.leaks(attack, result)]
        with self._lock:
            self.report.attacks[attack.kind] += 1
            self.report.statuses.update(answer.status for answer in result.answers)
            if attack.unharmed and [answer.status for answer in result.answers] == [200]:
                self._unharmed.update(attack.unharmed)
            if len(self.report.findings) < _MAX_FINDINGS:
                sent = b"".join(attack.parts)[:_SHOWN_BYTES]
                self.report.findings += [Finding(story, number, attack.kind, sent) for story in stories]
        return attack, result

    def finish(self) -> Report:
        """Wait until the target has done all its work, and look at what came of it. Blocks."""
        if self.report.grown_bytes > self._max_growth_bytes:
            grown = f"the memory grew by {self.report.grown_bytes >> 20} MiB while it was attacked"
            self.report.findings.append(Finding(grown))
        self.report.findings += [Finding(story) for story in self._target.findings(self._unharmed)]
        self.report.notes += [*self._target.notes(), f"{len(self._unharmed):,} good events among bad ones acknowledged"]
        return self.report

    def _memory(self) -> int:
        try:
            return self._target.memory_bytes()
        except (AssertionError, OSError):
            return 0  # it has ended, which is found at the end
