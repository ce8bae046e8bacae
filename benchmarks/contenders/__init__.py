"""Who is measured: each contender is a file here, run by the Python of an environment of its own."""
