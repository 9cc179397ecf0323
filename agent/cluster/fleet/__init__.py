"""The nodes of a cluster by what they published: the result of each, and how those of one role differ."""
