"""Resources that a host should have, derived from settings, host facts and the guide."""
