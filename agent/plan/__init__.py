"""Comparison of desired, observed and recorded state, as a plan of changes and refusals. Pure."""
