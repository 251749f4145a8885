"""Segment's HTTP Tracking API (https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/)."""
