"""The edX log: the line of edX's tracking log, written and read. Pure."""
