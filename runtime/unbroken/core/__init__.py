"""Nothing in this package awaits, reads a clock or rolls a die."""
