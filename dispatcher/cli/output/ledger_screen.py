"""Ledger screen: a snapshot for people, fitted to the width of the terminal; 80 columns are enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from dispatcher.cli.output.sources_screen import sources_screen
from dispatcher.monitoring.snapshot import Memory, Snapshot
from dispatcher.monitoring.units import count_text, duration_text, size_text
from dispatcher.outbox.stats import OutboxSurvey
from dispatcher.store.counts import NOT_TAKEN, Counts, RateLimit
from dispatcher.store.workers import ServingWorker

# Outboxes that get a line each; a machine may have hundreds.
_SHOWN_OUTBOXES: Final = 8
# Workers that get a line each.
_SHOWN_WORKERS: Final = 8
# For so long an error has a line although no event waits because of it any more.
_RECENT_SECONDS: Final = 3600
# The same on a screen that is drawn again and again, once the destination takes events again.
_OVER_SECONDS: Final = 10
# Time that an event may take from an outbox to the batch store.
_PASSING_SECONDS: Final = 3
# The fraction of a limit from which a number is red.
_NEARLY_FULL: Final = 0.8
_NOTHING: Final = Text("-", style="dim")
_BREAKER_STYLES: Final = {"closed": "dim", "half-open": "yellow", "open": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerScreen:
    """The tables and notes of ``dispatcher status``, to be printed by rich.

    Args:
        snapshot: What it shows.
        rates: Events a second for each destination; None for no such column.
        live: Whether it is drawn again and again: lines then come and go only if they must, and none wraps.
        problem: Why Redis does not answer now, so that the snapshot is an older one; empty if it does.
    """

    snapshot: Snapshot
    rates: Mapping[str, float] | None = None
    live: bool = False
    problem: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.problem:
            before = " These are its last answers:" if self.snapshot.ledger.destinations else ""
            yield Text(f"Redis does not answer; trying again.{before}", style="bold red")
            yield self._line(Text(self.problem, style="red"))
            yield Text()
        for problem in self.snapshot.settings_problems:
            yield self._line(Text(f"The settings cannot be used: {_printable(problem)}", style="bold red"))
        if self.snapshot.settings_problems:
            yield Text("Shown is what Redis has of every destination, whether the settings enable it or not.\n")
        if self.snapshot.ledger.destinations:
            yield _fitting(self._ledger_table, console, options)
            yield self._sum()
            since = [counts.since_ms for _, counts, _ in self._rows() if counts.since_ms is not None]
            if since:
                began = datetime.fromtimestamp(min(since) / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
                yield Text(
                    f"Counted since {began}, for {duration_text(self.snapshot.at - min(since) / 1000)}.", style="dim"
                )
            yield Text()
            yield _fitting(self._waiting_table, console, options)
            yield Text()
        notes = [self._line(note) for note in (*self._workers(), *self._notes())]
        if notes:
            yield from (*notes, Text())
        if self.snapshot.ledger.problem:
            yield self._line(Text(f"not shown: {_printable(self.snapshot.ledger.problem)}", style="yellow"))
        else:
            yield from self._outboxes()
        for part in sources_screen(self.snapshot):
            yield self._line(part) if isinstance(part, Text) else part
        if self.snapshot.forbidden:
            yield self._line(Text(_printable(self.snapshot.forbidden), style="dim"))
        if self.snapshot.memory is not None:
            yield self._line(_memory(self.snapshot.memory))
        if self.snapshot.ids is not None and self.snapshot.ids.forgotten_early:
            early = self.snapshot.ids.forgotten_early
            yield self._line(Text(f"ids forgotten early: {early:,}; raise collector.duplicate_ids", style="yellow"))

    def _rows(self) -> Iterator[tuple[str, Counts, str]]:
        """Name, counts and style of every line."""
        for name, counts in self.snapshot.ledger.destinations.items():
            if name != NOT_TAKEN or counts.accepted:
                yield name, counts, ""
        yield from ((name, counts, "" if counts.waiting else "dim") for name, counts in self.snapshot.unserved.items())

    def _ledger_table(self, number: Callable[[int], str]) -> Table:
        headings = ["accepted", "delivered", "waiting", "dead", "filtered"]
        if self.rates is not None:
            headings.append("per s")
        clock = datetime.fromtimestamp(self.snapshot.at).astimezone().strftime("%H:%M:%S")
        table = _table(f"Where the events are, {clock}", "destination", *headings)
        for name, counts, style in self._rows():
            dead = Text(number(counts.dead), style="red" if counts.dead else "")
            cells: list[RenderableType] = [
                number(counts.accepted),
                number(counts.delivered),
                number(counts.waiting),
                dead,
                number(counts.filtered),
            ]
            if self.rates is not None:
                cells.append(_rate(self.rates.get(name)))
            table.add_row(_title(name), *cells, style=style)
        return table

    def _sum(self) -> Text:
        wrong = [(name, counts) for name, counts, _ in self._rows() if not counts.closes]
        if not wrong:
            return Text("The sum closes: accepted = delivered + waiting + dead + filtered.", style="green")
        return Text("\n").join(
            Text(
                f"The sum of {_title(name)} does not close: {counts.accepted:,} accepted, but "
                f"{counts.delivered:,} + {counts.waiting:,} + {counts.dead:,} + {counts.filtered:,} = "
                f"{counts.delivered + counts.waiting + counts.dead + counts.filtered:,}. Please report it.",
                style="bold red",
            )
            for name, counts in wrong
        )

    def _waiting_table(self, number: Callable[[int], str]) -> Table:
        has_pages = any(counts.posted for _, counts, _ in self._rows())
        headings = (
            "queued",
            "under way",
            "parked",
            *(("for pages",) if has_pages else ()),
            "due in",
            "oldest",
            "last ok",
        )
        table = _table("What waits", "destination", *headings)
        table.add_column("breaker", no_wrap=True)
        for name, counts, style in self._rows():
            if name == NOT_TAKEN:
                continue  # no event ever waits for it
            states = (counts.queued, counts.claimed, counts.parked, *((counts.posted,) if has_pages else ()))
            table.add_row(
                _title(name),
                *(number(events) if events else _NOTHING for events in states),
                self._next_try(counts),
                self._age(counts.oldest_ms),
                self._age(counts.last_delivered_ms),
                Text("paused", style="yellow")
                if counts.pause is not None
                else Text(counts.breaker.state, style=_BREAKER_STYLES[counts.breaker.state]),
                style=style,
            )
        return table

    def _next_try(self, counts: Counts) -> Text:
        if counts.due_ms is None:
            return _NOTHING
        if counts.pause is not None:
            return _NOTHING if counts.pause.until_ms is None else Text(self._until(counts.pause.until_ms))
        # While the breaker is open, what is due waits for the breaker.
        return Text(self._until(max(counts.due_ms, counts.breaker.until_ms or 0)))

    def _until(self, timestamp_ms: int) -> str:
        seconds = timestamp_ms / 1000 - self.snapshot.at
        return "now" if seconds <= 0 else duration_text(seconds)

    def _workers(self) -> Iterator[Text]:
        """A line for each worker, and one for each destination without any."""
        served: dict[ServingWorker, list[str]] = {}
        destinations = self.snapshot.ledger.destinations
        for name, counts in destinations.items():
            for worker in counts.workers or ():
                served.setdefault(replace(worker, seen_ms=0), []).append(name)
        changed = self.snapshot.settings_changed_ms or 0
        for worker, names in list(served.items())[:_SHOWN_WORKERS]:
            listed = "all destinations" if len(names) == len(destinations) - 1 > 1 else ", ".join(names)
            age = f"settings read {duration_text(self.snapshot.at - worker.settings_ms / 1000)} ago"
            old = Text(f", before they changed here: restart it ({age})", style="yellow")
            text = Text.assemble((f"worker {_printable(worker.name)}", "bold"), f": {listed}")
            yield text.append_text(old if worker.settings_ms < changed else Text(f", {age}", style="dim"))
        if len(served) > _SHOWN_WORKERS:
            yield Text(f"and {count_text(len(served) - _SHOWN_WORKERS, 'more worker')}", style="dim")
        for name, counts in destinations.items():
            # While the settings cannot be used, nobody knows which destinations are to be served.
            if name != NOT_TAKEN and counts.workers == () and (counts.waiting or not self.snapshot.settings_problems):
                style = "bold red" if counts.waiting else "yellow"
                yield Text.assemble((name, "bold"), ": ", ("no worker serves it; run `dispatcher worker`", style))

    def _notes(self) -> Iterator[Text]:
        for name, counts, _ in self._rows():
            title = (_title(name), "bold")
            if name in self.snapshot.unserved:
                words = ": nobody delivers it: disabled, or not in the settings"
                yield Text.assemble(title, (words, "bold red" if counts.waiting else "dim"))
            if counts.posted:
                number, oldest = count_text(counts.posted, "event"), self._age(counts.posted_oldest_ms)
                words = f": {number} for pages of their visitors, the oldest for "
                yield Text.assemble(title, words, oldest, f"; see `dispatcher waiting list {name}`")
            if counts.pause is not None:
                end = counts.pause.until_ms
                until = f"`dispatcher resume {name}`" if end is None else f"{self._until(end)} from now"
                why = f" ({_printable(counts.pause.reason)})" if counts.pause.reason else ""
                yield Text.assemble(title, ": paused for ", self._age(counts.pause.since_ms), f"{why}, until {until}")
            breaker = counts.breaker
            if breaker.state != "closed":
                since = self._age(breaker.opened_ms)
                cause = f" ({breaker.cause})" if breaker.cause else ""
                due = self._until(breaker.until_ms or 0)
                words = f"{cause}, the next try is due now" if due == "now" else f"{cause}, the next try in {due}"
                yield Text.assemble(title, ": breaker open for ", since, words)
            if counts.rate is not None:
                yield Text.assemble(title, ": ", self._limit(counts.rate))
            if counts.last_error and not self._is_over(counts):
                style = "red" if counts.waiting else "dim"
                age = self._age(counts.last_error_ms)
                yield Text.assemble(title, ", ", age, " ago: ", (_printable(counts.last_error), style))
            for state, reasons in (("dead", counts.dead_by_reason), ("filtered", counts.filtered_by_reason)):
                # Dead letters that were replayed or dropped leave a zero.
                ordered = sorted(((number, reason) for reason, number in reasons.items() if number), reverse=True)
                if ordered:
                    listed = ", ".join(f"{_printable(reason)} {number:,}" for number, reason in ordered)
                    yield Text.assemble(title, f" {state}: ", (listed, "red" if state == "dead" else "dim"))

            if counts.commands and self.snapshot.at - counts.commands[0].at_ms / 1000 < _RECENT_SECONDS:
                latest = counts.commands[0]
                words = f"`dispatcher {_printable(latest.command)}` by {_printable(latest.who)}"
                yield Text.assemble(title, ", ", self._age(latest.at_ms), " ago: ", (words, "dim"))
            if counts.dead_filed or counts.dead_unkept or _is_nearly_full(counts):
                yield Text.assemble(title, " dead letters: ", (_room(counts), "yellow"))

    def _is_over(self, counts: Counts) -> bool:
        """Whether the last error says nothing any more about how the destination fares."""
        age = self.snapshot.at - (counts.last_error_ms or 0) / 1000
        if self.live:
            # Somebody looks on: what has been delivered since is over, but for a moment in which to read it.
            has_recovered = (counts.last_delivered_ms or 0) > (counts.last_error_ms or 0)
            return age > _OVER_SECONDS and (has_recovered or not counts.waiting)
        return not (counts.waiting or counts.dead or age < _RECENT_SECONDS)

    def _limit(self, rate: RateLimit) -> Text:
        if not rate.is_slowed:
            return Text(f"limit {rate.per_second:g}/s", style="dim")
        slower = f"limit {rate.current_per_second:.3g}/s of {rate.per_second:g}/s, throttled: {_printable(rate.error)}"
        cooldown = "" if rate.until_ms is None else f"cooldown for {self._until(rate.until_ms)}, then "
        return Text(f"{cooldown}{slower}", style="yellow")

    def _outboxes(self) -> Iterator[RenderableType]:
        outboxes = self.snapshot.ledger.outboxes
        busy = sorted((outbox for outbox in outboxes if self._is_busy(outbox)), key=lambda outbox: -outbox.waiting)
        if busy:
            yield self._outbox_table(busy)
            yield Text()
        yield self._line(_outbox_sum(self.snapshot, self._age(self.snapshot.outbox_oldest_ms)))
        refused = sum(outbox.refused for outbox in outboxes)
        if refused:
            yield self._line(Text(f"lost because an outbox was full: {count_text(refused, 'event')}", style="bold red"))
        for outbox in self.snapshot.ledger.unreadable:
            words = f"more events may wait in {outbox.name}, which cannot be read: {_printable(outbox.problem)}"
            yield self._line(Text(words, style="bold red"))
        damage = self.snapshot.ledger.damage
        if damage.pieces:
            size = size_text(damage.bytes)
            words = f"set aside: {count_text(damage.pieces, 'piece')} of journals that were not whole events, {size}"
            yield self._line(Text(words, style="bold red"))

    def _is_busy(self, outbox: OutboxSurvey) -> bool:
        # In a live picture, events on their way to the store would have the line come and go with every snapshot.
        passing = (
            self.live and outbox.oldest_ms is not None and self.snapshot.at - outbox.oldest_ms / 1000 < _PASSING_SECONDS
        )
        return bool(outbox.refused or (outbox.waiting and not passing))

    def _outbox_table(self, busy: list[OutboxSurvey]) -> Table:
        table = _table("Waiting in outboxes of this machine", "outbox", "events", "size", "refused", "oldest")
        table.add_column("process")
        for outbox in busy[:_SHOWN_OUTBOXES]:
            table.add_row(
                outbox.name,
                _whole(outbox.waiting),
                size_text(outbox.bytes),
                Text(_whole(outbox.refused), style="red" if outbox.refused else ""),
                self._age(outbox.oldest_ms),
                f"{outbox.pid}" if outbox.alive else Text(f"{outbox.pid}, dead", style="yellow"),
            )
        if len(busy) > _SHOWN_OUTBOXES:
            table.add_row(f"and {len(busy) - _SHOWN_OUTBOXES} more", style="dim")
        return table

    def _age(self, since_ms: int | None) -> Text:
        return _NOTHING if since_ms is None else Text(duration_text(self.snapshot.at - since_ms / 1000))

    def _line(self, text: Text) -> RenderableType:
        return _MiddleCut(text) if self.live else text


@dataclass(frozen=True, slots=True)
class _MiddleCut:
    """A line that is cut in its middle where it is wider than the terminal: an error ends with its cause."""

    text: Text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text, width = self.text, options.max_width
        text.no_wrap, text.overflow = True, "ellipsis"
        if len(text) > width > 2:
            end = (width - 1) // 2
            text = Text.assemble(
                text[: width - 1 - end], "…", text[len(text) - end :], no_wrap=True, overflow="ellipsis"
            )
        yield text


def _fitting(table: Callable[[Callable[[int], str]], Table], console: Console, options: ConsoleOptions) -> Table:
    """The table with whole numbers, or with shortened ones if it would be too wide."""
    exact = table(_whole)
    wanted = console.measure(exact, options=options.update(width=500)).maximum
    return exact if wanted <= options.max_width else table(_short)


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_edge, table.padding = False, (0, 1, 0, 0)
    table.add_column(first, style="bold", overflow="fold")
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _outbox_sum(snapshot: Snapshot, oldest: Text) -> Text:
    outboxes = snapshot.ledger.outboxes
    used = snapshot.outbox_disk_bytes / snapshot.outbox_limit_bytes
    dead = sum(not outbox.alive for outbox in outboxes)
    text = Text.assemble(("Outboxes here", "bold"), f": {len(outboxes)}")
    if dead:
        text.append(f" ({dead} dead)", style="yellow")
    if snapshot.ledger.in_outboxes:
        text.append(f", {count_text(snapshot.ledger.in_outboxes, 'event')}, oldest ").append_text(oldest)
    else:
        text.append(", no event waits")
    room = f", {size_text(snapshot.outbox_disk_bytes)} of {size_text(snapshot.outbox_limit_bytes)} ({used:.0%})"
    return text.append(room, style="red" if used >= _NEARLY_FULL else "")


def _is_nearly_full(counts: Counts) -> bool:
    return counts.dead_limit_bytes is not None and counts.dead_bytes >= _NEARLY_FULL * counts.dead_limit_bytes


def _room(counts: Counts) -> str:
    limit = "" if counts.dead_limit_bytes is None else f" of {size_text(counts.dead_limit_bytes)}"
    parts = [f"{size_text(counts.dead_bytes)}{limit} in Redis"]
    if counts.dead_filed:
        parts.append(f"{counts.dead_filed:,} in files on the workers' machines, <state_directory>/dead")
    if counts.dead_unkept:
        parts.append(f"{counts.dead_unkept:,} not kept")
    return ", ".join(parts)


def _memory(memory: Memory) -> Text:
    text = Text.assemble(("Redis", "bold"), f": {size_text(memory.used_bytes)} of memory in use")
    if memory.limit_bytes is None:
        return text.append(", without a limit")
    used = memory.used_bytes / memory.limit_bytes
    return text.append(f" of {size_text(memory.limit_bytes)} ({used:.0%})", style="red" if used >= _NEARLY_FULL else "")


def _title(name: str) -> str:
    return name if name != NOT_TAKEN else "(not taken)"


def _printable(text: str) -> str:
    """On one line and without control characters, since another server may have written it."""
    return "".join(character if character.isprintable() else " " for character in text)


def _whole(number: int) -> str:
    return f"{number:,}"


def _short(number: int) -> str:
    """At most six characters: 12,345 or 1.23 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 100 * size or (unit != "k" and number >= size):
            value = number / size
            return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"
    return f"{number:,}"


def _rate(per_second: float | None) -> str | Text:
    if per_second is None:
        return _NOTHING
    return f"{per_second:,.0f}" if per_second >= 10 or per_second == 0 else f"{per_second:.1f}"
