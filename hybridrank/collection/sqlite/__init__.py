"""The database of a durable collection: its tables, what is read from them and what is written."""
