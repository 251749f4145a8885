"""The research package: each partner's lines of the tracking log, a compressed and encrypted file for each day."""
