"""Counts: what came in by source, and what was refused with which reason. Of one process, since it started."""

from __future__ import annotations

from collections import Counter
from typing import Final

#: Reasons beyond which others are counted as "other": they come from code, but a route could make some of its input.
_MAX_KEYS: Final = 2_000


class Counts:
    """Counters of one process. For its one thread."""

    def __init__(self) -> None:
        #: Events taken, by source.
        self.accepted: Final[Counter[str]] = Counter()
        #: Items of batches that were not taken, by source and code.
        self.rejected: Final[Counter[tuple[str, str]]] = Counter()
        #: Events that pages had to drop before they could send them, by source and reason.
        self.dropped: Final[Counter[tuple[str, str]]] = Counter()
        #: Requests by status.
        self.requests: Final[Counter[int]] = Counter()
        #: Requests of which nothing was taken, by code.
        self.refused: Final[Counter[str]] = Counter()
        #: Requests of which ``collector.user`` did not say the user, by reason: busy, slow or failed.
        self.user_failures: Final[Counter[str]] = Counter()
        #: Bytes of bodies as they were sent.
        self.body_bytes = 0

    def reject(self, source: str, code: str, count: int = 1) -> None:
        """Count items of a batch that were not taken."""
        key = (source, code)
        self.rejected[key if key in self.rejected or len(self.rejected) < _MAX_KEYS else (source, "other")] += count

    def drop(self, source: str, reason: str, count: int) -> None:
        """Count events that a page had to drop."""
        key = (source, reason)
        self.dropped[key if key in self.dropped or len(self.dropped) < _MAX_KEYS else (source, "other")] += count

    def refuse(self, code: str) -> None:
        """Count a request of which nothing was taken."""
        self.refused[code if code in self.refused or len(self.refused) < _MAX_KEYS else "other"] += 1

    def render(self) -> bytes:
        """All of them in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
        lines = [
            "# HELP dispatcher_collector_accepted_total Events taken.",
            "# TYPE dispatcher_collector_accepted_total counter",
            *(f'dispatcher_collector_accepted_total{{source="{name}"}} {n}' for name, n in self.accepted.items()),
            "# HELP dispatcher_collector_rejected_total Items of batches that were not taken.",
            "# TYPE dispatcher_collector_rejected_total counter",
            *(
                f'dispatcher_collector_rejected_total{{source="{name}",reason="{code}"}} {n}'
                for (name, code), n in self.rejected.items()
            ),
            "# HELP dispatcher_collector_dropped_total Events that pages had to drop before they could send them.",
            "# TYPE dispatcher_collector_dropped_total counter",
            *(
                f'dispatcher_collector_dropped_total{{source="{name}",reason="{reason}"}} {n}'
                for (name, reason), n in self.dropped.items()
            ),
            "# HELP dispatcher_collector_refused_total Requests of which nothing was taken.",
            "# TYPE dispatcher_collector_refused_total counter",
            *(f'dispatcher_collector_refused_total{{reason="{code}"}} {n}' for code, n in self.refused.items()),
            "# HELP dispatcher_collector_user_failures_total Requests whose user collector.user did not find in time.",
            "# TYPE dispatcher_collector_user_failures_total counter",
            *(
                f'dispatcher_collector_user_failures_total{{reason="{reason}"}} {n}'
                for reason, n in self.user_failures.items()
            ),
            "# HELP dispatcher_collector_requests_total Requests answered.",
            "# TYPE dispatcher_collector_requests_total counter",
            *(f'dispatcher_collector_requests_total{{status="{status}"}} {n}' for status, n in self.requests.items()),
            "# HELP dispatcher_collector_body_bytes_total Bytes of bodies as they were sent.",
            "# TYPE dispatcher_collector_body_bytes_total counter",
            f"dispatcher_collector_body_bytes_total {self.body_bytes}",
        ]
        return ("\n".join(lines) + "\n").encode()
