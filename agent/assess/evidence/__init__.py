"""Reading of the evidence on a host that checks ask for."""
