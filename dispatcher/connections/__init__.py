"""Connections: how a broker's URL becomes a connection, with TLS, Sentinel and passwords."""
