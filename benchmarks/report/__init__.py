"""Pages, tables and verdicts of stored results. Nothing in this package measures: it reads `benchmarks.results.Results`."""
