"""The trouble a session has had: what policies are told of it, and the anatomy of the outage that goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from unbroken.config import Settings
from unbroken.core.table import Input
from unbroken.decisions import Carry, Cause, Closure, Decision, Escalate, FailOver, Retry, Situation, TargetState
from unbroken.events import Escalated, OutageBegan, Recovered, Steps
from unbroken.messages import Decided, LinkDown, Released

__all__ = ["Outages", "detected", "ended_for", "recovered", "told", "why_given_up"]

_STORY = 64
"""Decisions of one outage that are kept for the story; the oldest go first."""


class Outages:
    """The failures of one session's links, from the first to the one that goes on.

    Two things are counted: the outage, which ends when a link is up, and the trouble, which ends only when a link has been
    healthy for a while. Attempts and failures of a handle belong to the trouble, so that a service which accepts and then
    fails is not tried for ever.

    Args:
        targets: the route as a policy sees it, in order of preference.
        settings: the session's bounds.
    """

    def __init__(self, targets: Sequence[TargetState], *, settings: Settings) -> None:
        self._targets = tuple(targets)
        self._settings = settings
        self._attempt = 0
        self._recoveries = 0
        self._tried: Counter[int] = Counter()
        self._unlived: Counter[int] = Counter()
        self._ruled_out: dict[int, str] = {}
        self._misconfigured: set[int] = set()
        self._drop_media = False
        self._handle_failures = 0
        self._age = 0.0
        self._began: float | None = None
        self._steps = Steps()
        self._tries = 0
        self.story: list[OutageBegan] = []
        """The decisions of this trouble, in order."""

    def __repr__(self) -> str:
        going = "no outage" if self._began is None else f"an outage since {self._began:.3f}"
        return f"<Outages {going}, attempt {self._attempt}, {self._recoveries} recoveries>"

    @property
    def began(self) -> float | None:
        """When the outage that goes on was noticed; None: none goes on."""
        return self._began

    def failed(self, closure: Closure, *, target: int, detect: float, now: float) -> None:
        """A link has ended that should not have, or that the application had replaced: then nothing is counted.

        Args:
            closure: how.
            target: where it went, an index into the route.
            detect: seconds from its last sign of life to the moment its end was known.
            now: the present.
        """
        failed = closure.ending.cause != "update"
        self._attempt += failed
        self._tried[target] += failed
        self._unlived[target] = 0 if closure.phase == "live" else self._unlived[target] + failed
        self._age = closure.age
        if closure.phase in ("setup", "live"):  # before, the handle had not been shown
            self._handle_failures = self._handle_failures + 1 if closure.facts.resumed and not closure.facts.useful else 0
        if self._began is None:
            self._began = now  # a silence that took long to notice must leave patience for a dial
            self._recoveries += failed
            self._tries = 0
            self._steps = Steps(detect_ms=detect * 1000)
        else:
            self._spent(failed_ms=closure.age * 1000)

    def forgive(self, target: int) -> None:
        """The last failure was none: an announced or documented end, after something useful had come.

        That holds where the link had lived for `Settings.healthy_after`. A younger one's end counts as a failure, however
        planned it was: a service that ends every link a moment after its first word would be redialled for ever.

        Args:
            target: where the link went.
        """
        if self._age < self._settings.healthy_after:
            return
        self._attempt = max(0, self._attempt - 1)
        self._tried[target] = max(0, self._tried[target] - 1)
        if self._began is not None and not self._tries:  # it began the outage, which then is none to be counted
            self._recoveries = max(0, self._recoveries - 1)

    def consecutive(self, target: int) -> int:
        """Counts the links to one target that failed without a healthy stretch between, the one that fails now included."""
        return self._tried[target] + 1

    def decided(self, what: OutageBegan, *, took: float) -> None:
        """Notes a decision.

        Args:
            what: the event that tells of it.
            took: seconds the decision took.
        """
        self.story.append(what)
        del self.story[:-_STORY]
        self._spent(decide_ms=took * 1000)
        match what.decision:
            case Retry(drop_media=drop):
                self._drop_media = self._drop_media or drop  # also over attempts that fail before they could send anything
            case FailOver():
                self._drop_media = False  # what one model refused, another may take
            case _:
                pass

    def media_dropped(self) -> bool:
        """A link is up: says whether the audio kept over the outage is left out on it. It is left out once."""
        drop, self._drop_media = self._drop_media, False
        return drop

    def waited(self, seconds: float) -> None:
        """Notes a wait between attempts."""
        self._spent(wait_ms=seconds * 1000)

    def dialled(self) -> None:
        """Notes an attempt."""
        self._tries += 1

    def rule_out(self, target: int, why: str, *, configured: bool = False) -> None:
        """Takes a target out of this session's route for good.

        Args:
            target: index into the route.
            why: one plain sentence.
            configured: its configuration is why, so that another one brings it back.
        """
        self._ruled_out[target] = why
        if configured:
            self._misconfigured.add(target)

    def configured(self, targets: Sequence[TargetState]) -> None:
        """Takes the same route with other configurations: targets that were ruled out by theirs are in it again.

        Args:
            targets: the route as a policy sees it, in order of preference.
        """
        self._targets = tuple(targets)
        for target in self._misconfigured:
            self._ruled_out.pop(target, None)
        self._misconfigured.clear()

    def handle_dropped(self) -> None:
        """The handle that failed is no longer held."""
        self._handle_failures = 0

    def recovered(self, steps: Steps, *, catch_up: float) -> tuple[Steps, int]:
        """The outage is over.

        Args:
            steps: of the link that came up.
            catch_up: seconds from then until the user's audio was live.

        Returns:
            The outage's whole anatomy, and the number of attempts.
        """
        whole = msgspec.structs.replace(
            steps,
            detect_ms=self._steps.detect_ms,
            decide_ms=self._steps.decide_ms,
            wait_ms=self._steps.wait_ms,
            failed_ms=self._steps.failed_ms,
            catch_up_ms=catch_up * 1000,
        )
        self._began = None
        return whole, self._tries

    def given_up(self, last: Input, decision: Decision) -> Escalated:
        """The session is given up: returns the event that says why.

        Args:
            last: what happened last to the machine.
            decision: the last that was taken.
        """
        story = tuple(self.story) if self._began is not None else ()
        fault = story[-1].fault if story else None
        advice = decision.advice if isinstance(decision, Escalate) else ""
        if not advice and fault is not None:
            advice = fault.advice
        because = why_given_up(last, self._settings) or decision.because
        return Escalated(because=because, advice=advice, fault=fault, story=story)

    def healthy(self) -> None:
        """A link has been healthy for a while: the trouble is over, too."""
        self._attempt = 0
        self._handle_failures = 0
        self._tried.clear()
        self._unlived.clear()
        self.story.clear()

    def situation(
        self, closure: Closure, *, target: int, has_handle: bool, history_tokens: int, random: float, now: float
    ) -> Situation:
        """Describes where the session stands.

        Args:
            closure: how the last link ended.
            target: where it went.
            has_handle: a handle for that target is held.
            history_tokens: what the turns that could be replayed take in words; 0: there are none.
            random: from 0 to 1, 1 excluded.
            now: the present.
        """
        age = 0.0 if self._began is None else now - self._began
        return Situation(
            now=now,
            targets=tuple(
                msgspec.structs.replace(
                    state, tried=self._tried[state.index], ruled_out=self._ruled_out.get(state.index, "")
                )
                for state in self._targets
            ),
            current=target,
            phase=closure.phase,
            age=closure.age,
            unlived=self._unlived[target],
            attempt=self._attempt if self._began is None else max(1, self._attempt),
            outage_age=age,
            patience_left=max(0.0, self._settings.patience - age),
            attempts_left=max(0, self._settings.attempts - self._attempt),
            recoveries_left=max(0, self._settings.recoveries + 1 - self._recoveries),
            has_handle=has_handle,
            has_history=history_tokens > 0,
            history_tokens=history_tokens,
            handle_failures=self._handle_failures,
            useful=closure.facts.useful,
            previous_unconfirmed=closure.facts.previous_unconfirmed,
            random=random,
        )

    def _spent(self, *, decide_ms: float = 0.0, wait_ms: float = 0.0, failed_ms: float = 0.0) -> None:
        spent = self._steps
        self._steps = msgspec.structs.replace(
            spent,
            decide_ms=spent.decide_ms + decide_ms,
            wait_ms=spent.wait_ms + wait_ms,
            failed_ms=spent.failed_ms + failed_ms,
        )


def told(message: Decided, target: str, *, also: str) -> OutageBegan:
    """Returns the event that tells of a decision.

    Args:
        message: the decision.
        target: where the link went, ``provider/model``.
        also: a sentence for people about what else is done; "": nothing is.
    """
    return OutageBegan(
        link=message.closure.link,
        target=target,
        closure=message.closure,
        fault=message.fault,
        decision=message.decision,
        because=" ".join(part for part in (message.fault.because, message.decision.because, also) if part),
        attempt=message.situation.attempt,
        fallback=message.fallback,
    )


def recovered(message: Released, steps: Steps, *, attempts: int, target: str, carry: Carry) -> Recovered:
    """Returns the event that tells of an outage's end.

    Args:
        message: the replay is through.
        steps: how long the outage took.
        attempts: links tried.
        target: where the link goes, ``provider/model``.
        carry: how the conversation crossed.
    """
    account = msgspec.structs.asdict(message.account)
    return Recovered(link=message.link, target=target, carry=carry, steps=steps, attempts=attempts, **account)


def detected(message: LinkDown, hung_up_at: float, now: float) -> float:
    """Returns for how many seconds a link had been of no use when its end was known.

    Args:
        message: its end.
        hung_up_at: when this side last began a closing handshake.
        now: the present.
    """
    match message.closure.ending.cause:
        case "sign_deadline" | "reply_deadline" | "reply_stalled" | "ping_timeout" | "path_dead" | "not_reading":
            return message.silent_for
        case "handover" | "update":
            return now - hung_up_at
        case _:
            return 0.0  # the end itself was the last sign of life


def ended_for(overdue: Input, *, replying: bool) -> Cause | None:
    """Returns what a live link is ended for where one of its deadlines has passed; None: it is no such deadline.

    Args:
        overdue: the deadline.
        replying: a reply had begun and not ended.
    """
    match overdue:
        case Input.SIGN_OVERDUE | Input.SILENCE_OVERDUE:
            return "sign_deadline"
        case Input.REPLY_OVERDUE:
            return "reply_stalled" if replying else "reply_deadline"
        case Input.ANSWER_OVERDUE:
            return "answer_deadline"
        case _:
            return None


def why_given_up(last: Input, settings: Settings) -> str:
    """Returns why a session was given up that no decision gave up, in one sentence; "": a decision did.

    Args:
        last: what happened last.
        settings: the session's bounds.
    """
    match last:
        case Input.PATIENCE_OVER:
            return f"No link came up within the session's patience of {settings.patience:g} s."
        case Input.LAG_OVERDUE:
            return f"The application has not taken its events for {settings.consumer_patience:g} s."
        case Input.CLOSE_OVERDUE:
            return "A link did not report its end; this is a bug in unbroken or in a transport."
        case _:
            return ""
