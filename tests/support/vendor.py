"""Vendor: the base of the HTTP servers that stand in for vendors, as apps' own tests get it."""

from dispatcher.tasks.testing import CUT, POISON, SILENT, Call, Reply, Vendor

__all__ = ["CUT", "POISON", "SILENT", "Call", "Reply", "Vendor"]
