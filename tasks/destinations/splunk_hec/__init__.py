"""Splunk HEC: events of dispatcher as events of Splunk, at its HTTP Event Collector."""

from dispatcher.tasks.destinations.splunk_hec.destination import SplunkHec, SplunkHecOptions

__all__ = ["SplunkHec", "SplunkHecOptions"]
