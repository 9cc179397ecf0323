"""The journal, and the only code that carries out a plan."""
