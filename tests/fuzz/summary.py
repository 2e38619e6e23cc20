"""Prints what a run of scripts/fuzz-http did, from the counts that its parts left in a folder."""

import collections
import json
import sys
from pathlib import Path


def merged(documents, field):
    """The sums of a field that holds counts by name."""
    return sum((collections.Counter(document.get(field, {})) for document in documents), collections.Counter())


def print_requests(title, documents):
    """Answers by listener and status."""
    counts = collections.defaultdict(collections.Counter)
    for document in documents:
        for name, status, count in document["requests"]:
            counts[name][status] += count
    print(f"\n{title}: {sum(sum(of.values()) for of in counts.values())} answers")
    for name, of in counts.items():
        cells = ", ".join(f"{count} x {status}" for status, count in sorted(of.items()))
        print(f"  {name:<20}{sum(of.values()):>9}   {cells}")


def print_counts(title, counts):
    """Counts by name, the largest first."""
    print(f"\n{title}")
    for name, count in counts.most_common():
        print(f"  {count:>9}  {name}")


def print_taken(documents):
    """What the processes took when the first comparison began and when the last one ended."""
    taken = [document["taken"] for document in documents if document["taken"]]
    if not taken:
        return
    print(f"\n{'from first to last':<20}{'memory MiB':>16}{'files':>16}{'threads':>16}")
    for name, before in taken[0][0].items():
        after = taken[-1][1][name]
        pairs = zip((before[0] >> 20, *before[1:]), (after[0] >> 20, *after[1:]), strict=True)
        print(f"  {name:<18}" + "".join(f"{f'{was} -> {now}':>16}" for was, now in pairs))


def main():
    folder = Path(sys.argv[1])
    openapi = [json.loads(file.read_text()) for file in sorted(folder.glob("openapi-*.json"))]
    files = sorted(folder.glob("raw-*.json"), key=lambda file: file.stat().st_mtime)
    raw = [json.loads(file.read_text()) for file in files]
    print_requests("From the descriptions", openapi)
    print_counts("Let pass, with reasons in tests/fuzz/described.py", merged(openapi, "passed"))
    print_requests("Broken HTTP", raw)
    print_counts(f"Cases: {sum(document['cases'] for document in raw)}", merged(raw, "kinds"))
    print_counts("How connections ended", merged(raw, "ends"))
    for field, text in [("orders", "orders"), ("restocks", "restocks"), ("good", "good trades between cases")]:
        print(f"{sum(document[field] for document in raw):>11}  {text}")
    print_taken(raw)
    findings = sum(len(document["findings"]) for document in raw)
    failures = sum(document["failures"] for document in openapi)
    print(f"\nfindings: {findings} of broken HTTP, {failures} from the descriptions")


if __name__ == "__main__":
    main()
