"""Retirement: an endpoint at which edX's retirement pipeline says who is to be forgotten."""
