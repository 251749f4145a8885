"""Find: where an event went, from all that is left of it: outboxes, batches, dead letters, receipts and logs."""
