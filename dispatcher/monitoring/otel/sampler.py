"""Sampler: which deliveries are traced, by ``OTEL_TRACES_SAMPLER``.

Events have the trace of sampled requests only. So a delivery whose events have none may be one of requests that were
left out; it is traced where a sampler is set, and not by the specification's default, which would trace all of them.
"""

from __future__ import annotations

from typing import Final

from dispatcher.monitoring.otel.variables import OtelVariables

_PARENT: Final = "parentbased_"
# A trace is taken by the lower 64 bits of its id, as OpenTelemetry's own samplers do, so that all agree.
_BITS: Final = 1 << 64


class Sampler:
    """Decides for one trace after the other. Pure."""

    def __init__(self, variables: OtelVariables) -> None:
        self._is_parent_based = not variables.sampler or variables.sampler.startswith(_PARENT)
        ratios = {"always_on": 1.0, "traceidratio": variables.sampler_ratio}
        self._bound = round(ratios.get(variables.sampler.removeprefix(_PARENT), 0.0) * _BITS)

    def takes_root(self, trace_id: str) -> bool:
        """Whether a delivery without a request's trace gets one."""
        return int(trace_id[16:], 16) < self._bound

    def takes_child(self, trace_id: str) -> bool:
        """Whether a delivery is shown in the trace of a sampled request."""
        return self._is_parent_based or self.takes_root(trace_id)
