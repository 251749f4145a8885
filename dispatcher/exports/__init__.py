"""Exports: the tracking log in the forms that analysts' tools read. Most of it needs the extra ``export``."""
