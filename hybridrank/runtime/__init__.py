"""How work runs: deadlines, threads for calls that may hang, forks, interrupts, files written whole."""
