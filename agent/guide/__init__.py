"""The hardening guide as typed rows and real files. It knows no host."""
