"""The stages of a query, one file each: expand, retrieve, fuse, rerank, blend, adjust, rank."""
