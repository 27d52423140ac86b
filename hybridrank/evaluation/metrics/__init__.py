"""Measures of rankings, how alike two are, and the statistics of differences."""
