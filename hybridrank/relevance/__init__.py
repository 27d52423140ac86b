"""What a reranker's scores mean: probabilities of relevance, and whether a search found an answer."""
