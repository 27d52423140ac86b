"""The way of a query, one file a step: retrieve, fuse, rerank, blend, adjust, rank."""
