"""What a search returns: hits, the trace of every stage, and what it cost."""
