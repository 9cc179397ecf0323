"""Kinds of checks that controls use, what each reads on a node, and how it decides."""
