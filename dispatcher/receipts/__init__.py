"""Receipts: what workers write down of each event that they are done with, so that it is known and not only counted."""
