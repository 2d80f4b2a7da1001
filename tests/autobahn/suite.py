"""What scripts/autobahn tells the Autobahn TestSuite to do, and what it makes of its report.

usage: suite.py spec URL REPORT CASE…
       suite.py compare REPORT EXPECTED CASE…
       suite.py expected REPORT          writes what a whole run says, as expected.json has it
"""

import fnmatch
import json
import sys
from collections import Counter
from pathlib import Path

AGENT = "fanfare"
# A close that went wrong is a failure too, whatever the answers were.
BAD_CLOSE = {"FAILED", "WRONG CODE", "UNCLEAN"}


def spec(url, report, cases):
    """A run of those cases against that server."""
    server = {"agent": AGENT, "url": url, "options": {"version": 18}}
    return {
        "outdir": report,
        "options": {"failByDrop": False},
        "servers": [server],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }


def outcome(result):
    """One word for a case."""
    behavior, close = result["behavior"], result["behaviorClose"]
    if behavior in ("OK", "NON-STRICT", "INFORMATIONAL"):
        if close in BAD_CLOSE:
            return f"{behavior}, but its close is {close}"
        # The suite had to drop the connection itself: the server kept it open (RFC 6455 7.1.1).
        if close == "FAILED BY CLIENT" and behavior != "INFORMATIONAL":
            return f"{behavior}, but left open"
    return behavior


def outcomes(report):
    """Each case of a report and what became of it, in order."""
    results = json.loads((Path(report) / "index.json").read_text())[AGENT]
    number = lambda case: [int(part) for part in case.split(".")]
    return {case: outcome(results[case]) for case in sorted(results, key=number)}


def compare(report, expected, cases):
    """Tells what differs; whether nothing does."""
    found = outcomes(report)
    expected = json.loads(Path(expected).read_text())
    # What was asked for and is not there did not run.
    wanted = [case for case in expected if any(fnmatch.fnmatchcase(case, asked) for asked in cases)]
    differing = [
        f"{case}: {found.get(case, 'did not run')}, expected {expected.get(case, 'nothing')}"
        for case in dict.fromkeys([*wanted, *found])
        if found.get(case) != expected.get(case)
    ]
    told = ", ".join(f"{count} {what}" for what, count in sorted(Counter(found.values()).items()))
    print(f"{len(found)} cases: {told}")
    print("\n".join(differing) or "all of them as expected")
    return bool(wanted) and not differing


def main(arguments):
    match arguments:
        case ["spec", url, report, *cases] if cases:
            json.dump(spec(url, report, cases), sys.stdout)
        case ["compare", report, expected, *cases] if cases:
            sys.exit(0 if compare(report, expected, cases) else 1)
        case ["expected", report]:
            print(json.dumps(outcomes(report), indent=0))
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
