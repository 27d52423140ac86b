"""How good each stage is, and whether one pipeline is better than another."""
