"""Recorded searches with other choices, without searching again."""
