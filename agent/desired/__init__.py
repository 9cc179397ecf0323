"""The resources that a host should have, computed from settings, host facts and the guide."""
