"""No sample vanishes silently, whatever is sent, acknowledged, snapshotted, dropped and crossed."""

from __future__ import annotations

import struct

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from unbroken.core.journal import Journal, Plan
from unbroken.decisions import Carry

RATE = 100
BOUND = 3.0
carries = st.sampled_from(("handle", "history", "nothing"))


class Crossings(RuleBasedStateMachine):
    """Checks a journal against every sample kept by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal(rate=RATE, bound=BOUND)
        self.now = 0.0
        self.loud: list[bool] = []
        self.given = 0  # by any link of the current context
        self.link = 0
        self.least_heard = 0
        self.snapshots = [0]
        self.dropped = 0
        self.begin = 0

    @initialize()
    def first_link(self) -> None:
        self.link = 1
        self.journal.begin_link(1, 0)

    def pcm(self, start: int, stop: int) -> bytes:
        return struct.pack(f"<{stop - start}H", *(position % 65_536 for position in range(start, stop)))

    @rule(samples=st.integers(0, 150), quiet=st.booleans(), pause=st.floats(0, 0.5))
    def append(self, samples: int, quiet: bool, pause: float) -> None:
        self.now += pause
        end = len(self.loud)
        kept = max(self.journal.floor, self.journal.heard, self.given)
        self.loud += [not quiet] * samples
        assert self.journal.append(self.pcm(end, end + samples), self.now, quiet=quiet) == len(self.loud)
        begin = max(self.begin, len(self.loud) - int(BOUND * RATE))
        self.dropped += max(0, begin - max(self.begin, kept))
        self.begin = begin

    @rule(share=st.floats(0, 1), pause=st.floats(0, 0.1))
    def send(self, share: float, pause: float) -> None:
        self.now += pause
        ahead = len(self.loud) - self.journal.position
        upto = self.journal.position + int(ahead * share)
        self.journal.sent(upto, self.now)
        self.given = max(self.given, upto)

    @rule(lag=st.floats(0, 2), issued=st.booleans())
    def acknowledge(self, lag: float, issued: bool) -> None:
        before = self.journal.heard
        after = self.journal.acknowledge(self.now, lag)
        assert before <= after
        if after > before:
            # It is never cut in the middle of what is being said, where the line is ever quiet.
            assert after <= self.journal.sent_at(self.now - lag)
            assert not self.loud[after - 1] or self.journal.quiet_gap_before(after) is None
        if issued:
            self.snapshots.append(self.journal.snapshot(None))

    @rule(samples=st.integers(1, 100))
    def converse(self, samples: int) -> None:
        """A turn with a pause after it, sent and acknowledged."""
        self.append(samples, quiet=False, pause=0.1)
        self.append(40, quiet=True, pause=0.4)
        self.send(1.0, pause=0.0)
        self.acknowledge(0.0, issued=True)

    @rule(carry=carries, max_age=st.floats(0, 4), drop=st.booleans(), settle=st.booleans(), data=st.data())
    def cross(self, carry: Carry, max_age: float, drop: bool, settle: bool, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(self.snapshots))
        journal = self.journal
        plan = journal.plan(known=known, carry=carry, now=self.now, max_age=max_age, drop_media=drop)
        self.check(plan, drop=drop)
        self.link += 1
        journal.begin_link(self.link, plan.start)
        assert journal.heard == known
        self.given = max(self.given, plan.start) if carry == "handle" else plan.start
        if settle:
            journal.settle(plan)
            assert journal._uncounted(plan.known, plan.start)[0] == 0
        if carry != "handle":
            self.snapshots = [known]

    def check(self, plan: Plan, *, drop: bool) -> None:
        end = len(self.loud)
        assert plan.known <= plan.start <= end, "nothing below what is known is replayed"
        assert plan.known + plan.lost + plan.silence + plan.counted + plan.replayed == end
        assert min(plan.lost, plan.silence, plan.counted, plan.replayed, plan.uncertain) >= 0
        left_out = sum(self.loud[plan.known : plan.start])
        assert plan.lost <= left_out <= plan.lost + plan.counted
        if plan.known >= self.journal.floor and not plan.counted:
            assert plan.lost == left_out
        assert plan.uncertain == (max(0, self.given - plan.start) if plan.carry == "handle" else 0)
        assert self.journal.read(plan.start, end) == self.pcm(plan.start, end)
        if drop:
            assert plan.replayed == 0

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        upto = data.draw(st.integers(0, min(self.snapshots)))
        self.journal.forget(upto)
        self.begin = max(self.begin, upto)

    @precondition(lambda self: self.loud)
    @invariant()
    def bounds_hold(self) -> None:
        journal = self.journal
        assert journal.heard <= journal.position <= journal.end == len(self.loud)
        assert journal.end - journal.begin <= BOUND * RATE
        assert journal.begin == self.begin
        assert journal.dropped == self.dropped
        assert len(journal._chunks) - journal._head <= 2 * BOUND * 50 + 2


TestCrossings = Crossings.TestCase
TestCrossings.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
