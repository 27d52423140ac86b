"""What every component is: its base class, the contracts, the registry, and what is checked of each."""
