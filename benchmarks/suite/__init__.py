"""The suite: scenarios, the world they are played in, one call, and a whole run. What it finds is `benchmarks.results`."""
