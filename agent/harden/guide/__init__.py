"""The hardening guide as typed rows and files. Pure."""
