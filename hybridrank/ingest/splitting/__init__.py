"""Long documents -> passages."""
