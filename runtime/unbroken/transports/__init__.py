"""Transports: they carry bytes and say how a connection ended. Nothing in this package decides or retries."""
