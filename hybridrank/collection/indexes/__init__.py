"""The indexes of a durable collection: derived from its database, saved in generations."""
