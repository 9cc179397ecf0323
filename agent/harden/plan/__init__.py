"""The plan: changes and refusals that follow from desired, observed and recorded state. Pure."""
