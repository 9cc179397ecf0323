"""The HTML pages of an assessment and of a fleet, and the elements that they share."""
