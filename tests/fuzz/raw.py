"""Sends broken HTTP to every listener of a cluster, and checks that nothing but what was asked for well happened.

Everything that is sent follows from the seed: a case of the same seed and number is the same again, byte by byte.
"""

import argparse
import base64
import collections
import json
import random
import sys
import time
from pathlib import Path

import wire
from cases import Generator, judge
from cluster import Cluster
from ledger import Ledger, number_in
from patience import Slow, crowd

# After so many cases orders and quantities are compared, and somebody trades.
CASES_BETWEEN_CHECKS = 200
# Caches, pools and the first tables of the database are there after so many cases; from then on memory is compared.
CASES_BEFORE_COMPARING = 400
FINDINGS_MAX = 50
SHOWN_BYTES = 600
# Open files go back to what they were, but for connections between our own processes.
FILES_MORE_MAX = 32
MEMORY_MORE_BYTES_MAX = 128 << 20
# From here on slow senders are worth their wait.
SLOW_FROM_S = 60
SETTLE_FILES_S = 40


def drive(case):
    """Sends a case and reads what comes."""
    stream = wire.connect(case.listener.address)
    methods = case.methods()
    try:
        if case.ending == "open":
            wire.send(stream, case.pieces[:-1], case.pause_s)
            exchange = wire.read_to_end(stream, methods, len(methods) - 1)
            if exchange.end == "left":
                wire.send(stream, case.pieces[-1:], 0)
                exchange = wire.read_to_end(stream, methods, len(methods), exchange.raw)
            return exchange
        wire.send(stream, case.pieces, case.pause_s)
        if case.ending == "reset":
            wire.reset(stream)
            return wire.Exchange()
        if case.ending == "close":
            return wire.Exchange()
        wire.half_close(stream)
        return wire.read_to_end(stream, methods)
    finally:
        stream.close()


class Fuzz:
    """The run."""

    def __init__(self, cluster, seed, out):
        self.cluster, self.seed, self.out = cluster, seed, out
        self.listeners = cluster.listeners()
        self.generator = Generator(seed, self.listeners)
        self.public = self.listeners[0]
        self.ledger = Ledger(self.public.address)
        self.statuses = collections.Counter()
        self.kinds = collections.Counter()
        self.ends = collections.Counter()
        self.findings = []
        self.cases = self.good = 0
        # What the processes took when the comparison began, and at the end.
        self.taken = []

    def find(self, what, case=None):
        """Takes a finding down, with what repeats it."""
        lines = [what]
        if case is not None:
            name = f"case-{self.seed}-{case.number}.bin"
            (self.out / name).write_bytes(case.raw)
            host, port = case.listener.address
            lines[0] = f"{case.listener.name}, {case.kind} (case {case.number}): {what}"
            lines.append(f"  bytes: {case.raw[:SHOWN_BYTES]!r}{' ...' if len(case.raw) > SHOWN_BYTES else ''} ({name})")
            lines.append(f"  pieces of {[len(piece) for piece in case.pieces][:8]} bytes, then {case.ending}")
            if len(case.raw) <= SHOWN_BYTES:
                text = base64.b64encode(case.raw).decode()
                lines.append(f"  again: echo {text} | base64 -d | nc -N {host} {port}")
            lines.append(f"  again: scripts/fuzz-http --seed {self.seed} --case {case.number}")
        self.findings.append("\n".join(lines))
        print(self.findings[-1], flush=True)

    def run_case(self, number):
        """One case."""
        case = self.generator.case(number)
        self.cases += 1
        self.kinds[case.kind] += 1
        try:
            exchange = drive(case)
        except OSError as error:
            self.find(f"no connection: {error}", case)
            return
        wrong = judge(case, exchange)
        self.ledger.note(case, exchange)
        self.ends[exchange.end] += 1
        self.statuses.update((case.listener.name, answer.status) for answer in exchange.answers)
        if wrong:
            self.find(wrong, case)

    def check(self, number):
        """Everything has to be alive, the logs tell of no fault, a trade succeeds, and the books are right."""
        # First what says most: without a catalog, or a leader, the rest says only that there is none.
        for line in [*self.cluster.complaints(), *self.cluster.gone()]:
            self.find(line)
        try:
            self.compare_books(number)
        except (OSError, RuntimeError) as error:
            self.find(f"the books cannot be compared: {error!r}")
        for line in self.cluster.complaints():
            self.find(line)

    def compare_books(self, number):
        """Trades, and compares what is there with what was answered."""
        wrong = self.trade(number)
        if wrong:
            self.find(wrong)
        for key, text in self.ledger.settle():
            parts = key.split(".")
            is_case = len(parts) == 3 and parts[0] == str(self.seed) and parts[1].isdigit()
            self.find(f"{key or 'the books'}: {text}", self.generator.case(int(parts[1])) if is_case else None)

    def trade(self, number):
        """A good trade; what is wrong with it."""
        key = f"{self.seed}.good.{number}.{self.good}"
        request = self.public.post(random.Random(key), key, key)
        stream = wire.connect(self.public.address)
        wire.send(stream, [request.plain()], 0)
        exchange = wire.read_to_end(stream, {}, 1)
        stream.close()
        answer = exchange.answers[0] if exchange.answers else None
        if answer is None or number_in(answer) is None:
            self.ledger.open[key] = request
            return f"a good trade got {answer}"
        self.ledger.note_answer(answer, request)
        self.statuses[self.public.name, answer.status] += 1
        self.good += 1
        return ""

    def crowd(self):
        """As many silent connections as there may be."""
        count, wrong = crowd(self.public, self.cluster.files_max("frontend"), lambda: self.trade("crowd"))
        self.kinds["a silent connection in a crowd"] += count
        if wrong:
            self.find(wrong)

    def compare(self, before):
        """Checks that what the processes take has not grown beyond bounds."""
        deadline = time.monotonic() + SETTLE_FILES_S
        while True:
            after = self.cluster.taken()
            grown = [name for name in after if after[name] and after[name][1] > before[name][1] + FILES_MORE_MAX]
            if not grown or time.monotonic() > deadline:
                break
            time.sleep(1)
        # A process that is gone was told of.
        if not all(after.values()):
            return
        self.taken = [before, after]
        for name, (memory, files, _) in after.items():
            if memory > before[name][0] + MEMORY_MORE_BYTES_MAX:
                self.find(f"{name} takes {memory - before[name][0]} bytes more than before")
            if name in grown:
                self.find(f"{name} has {files} open files, and had {before[name][1]}")

    def run(self, first, seconds):
        """Cases from a number on, until the time is over."""
        started, number, before = time.monotonic(), first, None
        slow = None
        if seconds >= SLOW_FROM_S:
            # First, so that what a crowd leaves in pools is there before memory is compared.
            self.crowd()
            slow = Slow(self.listeners, self.seed)
        while time.monotonic() < started + seconds and len(self.findings) < FINDINGS_MAX:
            self.run_case(number)
            number += 1
            if number % CASES_BETWEEN_CHECKS == 0:
                self.check(number)
            if number == first + CASES_BEFORE_COMPARING:
                before = self.cluster.taken()
        if slow:
            self.kinds["a slow sender"] += slow.count
            for wrong in slow.end():
                self.find(wrong)
        self.check(number)
        if before and all(before.values()):
            self.compare(before)

    def totals(self):
        """What was done, for the summary."""
        requests = [[name, str(status), count] for (name, status), count in sorted(self.statuses.items())]
        return {
            "cases": self.cases,
            "kinds": dict(self.kinds),
            "ends": dict(self.ends),
            "requests": requests,
            "orders": self.ledger.orders,
            "restocks": self.ledger.restocks,
            "good": self.good,
            "taken": self.taken,
            "findings": self.findings,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path, help="where bytes of findings and totals go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--case", type=int, help="only this case")
    given = parser.parse_args()
    cluster = Cluster(given.config, given.data, given.out)
    try:
        fuzz = Fuzz(cluster, given.seed, given.out)
    except (OSError, RuntimeError) as error:
        print("\n".join([*cluster.complaints(), *cluster.gone(), f"the books cannot be read: {error!r}"]), flush=True)
        return 1
    try:
        if given.case is not None:
            fuzz.run_case(given.case)
            fuzz.check(given.case)
        else:
            fuzz.run(given.first, given.seconds)
    finally:
        print(f"  broken HTTP: {fuzz.cases} cases, {len(fuzz.findings)} findings", flush=True)
        (given.out / f"raw-{given.seed}-{given.first}.json").write_text(json.dumps(fuzz.totals()))
    return 1 if fuzz.findings else 0


if __name__ == "__main__":
    sys.exit(main())
