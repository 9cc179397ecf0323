"""Reading of objects and running configurations from the API server of this host."""
