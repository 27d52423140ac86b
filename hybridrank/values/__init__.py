"""Values from users: validated arguments and JSON values, and text that is safe to print."""
