"""Searches over the queries of a dataset, kept on disk."""
