"""Board: the ledger as a page, for people who would rather look than read."""
