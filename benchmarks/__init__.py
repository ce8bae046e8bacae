"""What unbroken costs and what its recoveries take, beside the peers and beside a floor: ``python -m benchmarks``."""
