"""Test collections: documents, queries, judgments, in the formats of the field."""
