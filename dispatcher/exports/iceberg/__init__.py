"""Iceberg: the rows of an export as a table that Spark, Trino, Snowflake and others read, in any catalog."""
