"""Files for people without a database: the lake of current rows, and data sets."""
