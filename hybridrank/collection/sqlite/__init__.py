"""The database of a durable collection: its tables, and how they are read and written."""
