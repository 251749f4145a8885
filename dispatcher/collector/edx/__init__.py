"""What pages and apps of Open edX send: their own requests, which stay as they are."""
