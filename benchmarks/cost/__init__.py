"""What sessions take of the processor and of memory, over real sockets, beside the floor and the vendor's client."""

from benchmarks.results import Cost

__all__ = ["measure"]


def measure(quick: bool) -> list[Cost]:  # noqa: FBT001 - the suite calls every part so
    """Returns what each contender costs.

    Args:
        quick: for being alive only; some seconds in place of a quarter of an hour.
    """
    from benchmarks.cost import hour, rounds  # its processes run modules of this package, and need not load them

    return rounds.measure(quick) + ([] if quick else hour.memory_over_an_hour())
