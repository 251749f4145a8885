"""Vendor: a scripted vendor on this machine, which enforces the documented contract and counts what it took."""

from dispatcher.tasks.testing import CUT, POISON, SILENT, Call, Reply, Vendor

__all__ = ["CUT", "POISON", "SILENT", "Call", "Reply", "Vendor"]
