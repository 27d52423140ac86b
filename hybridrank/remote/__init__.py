"""What components that call a service share: limits, retries, batching, clients, API keys, errors."""
