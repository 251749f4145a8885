"""Sentry: reports of what needs a person, one issue for each cause; and traces from a request to its deliveries.

Apps use ``trace_context``. Everything else is for dispatcher's own processes, which import the modules.
"""

from dispatcher.monitoring.sentry.traces import trace_context

__all__ = ["trace_context"]
