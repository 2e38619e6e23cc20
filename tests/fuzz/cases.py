"""Cases: what is sent over one connection, and what may be answered. A case follows from a seed and a number alone."""

import random
from dataclasses import dataclass, field

from bodies import BODIES, PUBLISHED
from ends import ENDS
from heads import HEADS, mutant
from kinds import MAYBE, MUST, NEVER, Kind
from listeners import Peers
from protocols import preamble

# Long enough for the listener to have read what came before.
PAUSE_S = 0.002


@dataclass
class Case:
    """One connection."""

    number: int
    kind: str
    listener: object
    # Well-formed requests before and behind the one that is not.
    before: list = field(default_factory=list)
    request: object = None
    behind: list = field(default_factory=list)
    pieces: list = field(default_factory=list)
    pause_s: float = 0.0
    # "half": says that nothing more comes, and reads to the end. "open": sends the last piece when everything before it
    # was answered. "close" and "reset": goes without reading.
    ending: str = "half"
    # Nobody knows what it has become.
    is_changed: bool = False
    done: str = MUST
    goes_on: str = MUST
    refusals_max: int = 1

    @property
    def raw(self):
        """All that is sent."""
        return b"".join(self.pieces)

    def methods(self):
        """Of the requests, by their ids."""
        return {one.request_id: one.method for one in self.in_whole()}

    def in_whole(self):
        """The well-formed requests and the one in question."""
        return [*self.before, *([self.request] if self.request else []), *self.behind]


class Generator:
    """Draws cases from a seed."""

    def __init__(self, seed, listeners):
        self.seed = seed
        self.listeners = listeners
        self.weights = [listener.weight for listener in listeners]

    def case(self, number):
        """The case of a number."""
        chance = random.Random(f"{self.seed}/{number}")
        listener = chance.choices(self.listeners, self.weights)[0]
        case = Case(number, "", listener)
        if isinstance(listener, Peers) or chance.random() < 0.04:
            return self.other_protocol(case, chance)
        way = chance.random()
        if way < 0.10:
            return self.early_end(case, chance)
        if way < 0.20:
            return self.split(case, chance)
        kinds = HEADS + (ENDS if listener.reads_body else [])
        if listener.takes_json and way < 0.50:
            kinds = BODIES + (PUBLISHED if listener.takes_records else [])
            kinds = [kind for kind in kinds if kind.name not in listener.skips]
        return self.around(case, chance, chance.choice(kinds))

    def name(self, case, part):
        """A key or an id that no other case has."""
        return f"{self.seed}.{case.number}.{part}"

    def good(self, case, chance, part):
        """A well-formed request."""
        if chance.random() < 0.5:
            return case.listener.get(chance, self.name(case, part))
        return self.post(case, chance, part)

    def post(self, case, chance, part):
        """A well-formed request that changes something, where something can be changed."""
        return case.listener.post(chance, self.name(case, part), self.name(case, part))

    def around(self, case, chance, kind: Kind):
        """A broken request between well-formed ones."""
        case.kind, case.done, case.goes_on, case.refusals_max = kind.name, kind.done, kind.goes_on, kind.refusals_max
        case.is_changed = kind.make is mutant
        case.before = [self.good(case, chance, f"b{turn}") for turn in range(chance.choice([0, 0, 0, 1, 2]))]
        case.request = self.post(case, chance, "x")
        middle = kind.make(chance, case.request)
        if not kind.is_cut:
            case.behind = [self.good(case, chance, f"a{turn}") for turn in range(chance.choice([0, 1, 1, 2]))]
        if case.is_changed:
            # What has become of HEAD nobody knows, and with that, where its answer ends.
            for one in case.behind:
                one.method = one.method.replace("HEAD", "GET")
        before = b"".join(one.plain() for one in case.before)
        behind = b"".join(one.plain() for one in case.behind)
        if kind.goes_on == MUST and case.behind and chance.random() < 0.3:
            case.ending = "open"
            last = case.behind[-1].plain()
            case.pieces = [(before + middle + behind)[: -len(last)], last]
        else:
            case.pieces = self.delivered(case, chance, before + middle + behind)
        return case

    def delivered(self, case, chance, raw):
        """In one piece, in some, or byte by byte."""
        way = chance.random()
        if way < 0.7 or len(raw) < 2:
            return [raw]
        if way < 0.95 or len(raw) > 1_500:
            marks = sorted(chance.sample(range(1, len(raw)), min(len(raw) - 1, chance.randint(1, 3))))
            case.pause_s = PAUSE_S
            return [raw[start:end] for start, end in zip([0, *marks], [*marks, len(raw)], strict=True)]
        return [raw[at : at + 1] for at in range(len(raw))]

    def split(self, case, chance):
        """A good request in two pieces, each case at the next byte; then another one."""
        case.kind = "split at every byte"
        case.request = self.post(case, chance, "x")
        case.behind = [self.good(case, chance, "a0")]
        raw = case.request.plain() if chance.random() < 0.7 else case.request.in_chunks([5])
        # Chunks are the last that a connection is taken for.
        case.goes_on = MUST if b"chunked" not in raw else NEVER
        at = 1 + case.number % (len(raw) - 1)
        case.pause_s = PAUSE_S
        case.pieces = [raw[:at], raw[at:], case.behind[0].plain()]
        case.ending = "open" if case.goes_on == MUST and chance.random() < 0.5 else "half"
        return case

    def early_end(self, case, chance):
        """The sender goes away in the middle, or before it has its answer."""
        case.kind = "an end in the middle"
        case.request = self.post(case, chance, "x")
        in_chunks = case.listener.reads_body and chance.random() < 0.3
        raw = case.request.in_chunks([7]) if in_chunks else case.request.plain()
        length = len(raw) if chance.random() < 0.2 else chance.randint(0, len(raw) - 1)
        case.done = MAYBE if length == len(raw) else NEVER
        case.goes_on = NEVER
        case.ending = chance.choice(["close", "reset", "half"])
        case.pieces = [raw[:length]]
        return case

    def other_protocol(self, case, chance):
        """What is no request of HTTP/1.1 at all."""
        case.kind = "another protocol"
        case.done, case.goes_on, case.refusals_max = NEVER, NEVER, 1
        case.pieces = [preamble(chance)]
        if isinstance(case.listener, Peers):
            if chance.random() < 0.3:
                case.pieces = [b"GET /admin/raft HTTP/1.1\r\nhost: x\r\n\r\n"]
        case.ending = chance.choice(["half", "half", "close", "reset"])
        return case


def judge(case, exchange):
    """What is wrong with the answers, or nothing."""
    if isinstance(case.listener, Peers):
        # It may say in its own way why not.
        return "it stays open" if exchange.end == "silent" else ""
    wrong = on_its_own(exchange)
    if wrong or case.ending in ("close", "reset"):
        return wrong
    left = list(exchange.answers)
    for one in case.before:
        if not left:
            return f"no answer to {one.request_id}, which stood before"
        answer = left.pop(0)
        wrong = is_answer_to(one, answer)
        if wrong:
            return wrong
    return after_the_break(case, exchange, left)


def on_its_own(exchange):
    """What is wrong with the exchange, whatever was sent."""
    if exchange.malformed:
        return exchange.malformed
    if exchange.end == "silent":
        return "neither an answer nor an end in time"
    for answer in exchange.answers:
        if answer.status >= 500 and not is_not_now(answer):
            return f"status {answer.status}: {answer.body[:200]!r}"
        if answer.status == 503 and "retry-after" not in answer.headers:
            return "503 without Retry-After"
        if answer.request_id is not None and answer.body and "content-type" not in answer.headers:
            return "a body without a media type"
    return ""


def is_not_now(answer):
    """Whether it says that a leader, a quorum or a lease is missing, or too much waits; or that it is not known."""
    kinds = (b'"no_leader"', b'"no_quorum"', b'"overloaded"', b'"catalog_unavailable"', b'"outcome_unknown"')
    # The older form has no kinds.
    words = (*kinds, b'"order_no":-1')
    return answer.status in (503, 504) and any(word in answer.body for word in words)


def is_answer_to(request, answer):
    """What is wrong with the answer to a well-formed request."""
    if answer.request_id != request.request_id:
        return f"{request.request_id} was answered as {answer.request_id}: {answer.status} {answer.body[:200]!r}"
    if answer.status not in request.statuses and not is_not_now(answer):
        return f"{request.request_id} got {answer.status}: {answer.body[:200]!r}"
    return ""


def after_the_break(case, exchange, left):
    """What is wrong with the answers from the request in question on."""
    if case.is_changed:
        most = case.refusals_max + len(case.behind)
        return f"{len(left)} answers" if len(left) > most else ""
    refusals = 0
    while left and refusals < case.refusals_max and not belongs_to(case.behind, left[0]):
        answer = left.pop(0)
        refusals += 1
        if answer.status < 400 and case.done == NEVER:
            return f"it was carried out: {answer.status} {answer.body[:200]!r}"
        if case.done == MUST and is_answer_to(case.request, answer):
            return is_answer_to(case.request, answer)
    if case.done == MUST and not refusals:
        return "it was not answered"
    return behind_it(case, exchange, left, refusals)


def belongs_to(requests, answer):
    """Whether one of these requests got it."""
    return any(one.request_id == answer.request_id for one in requests)


def behind_it(case, exchange, left, refusals):
    """What is wrong with the answers to what stands behind the request in question."""
    if left and case.goes_on == NEVER:
        return f"what stood behind it was answered: {left[0].status} {left[0].body[:200]!r}"
    if case.goes_on == MUST and not refusals and case.request is not None:
        return "it was not answered, and the connection should go on"
    for turn, one in enumerate(case.behind):
        if not left:
            if case.goes_on == MUST or turn > 0:
                return f"{one.request_id}, which stood behind it, was not answered ({exchange.end})"
            break
        answer = left.pop(0)
        wrong = is_answer_to(one, answer)
        if wrong:
            return wrong
    return f"one answer too many: {left[0].status} {left[0].body[:200]!r}" if left else ""
