"""Files for people without a database: tables of Postgres as Parquet."""
