"""From Parquet files into the tables of others: Tableau's extracts, Vertica, BigQuery."""
