#!/usr/bin/env python3
"""Starts a broker and has schemathesis test its API by the description that it serves.

    run.py FANFARE SCHEMATHESIS

Every call of the description is to be made, and to be answered as it says. Of what schemathesis
tells, nothing is taken on trust: which calls were carried out is read off the broker's own metrics.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
KEY = "a-key-for-tests"
SESSIONS = 300

# Nobody's credentials name a user yet, so these have nobody to be carried out for.
FOR_NOBODY = {
    ("DELETE", "/v1/users/{user}"),
    ("POST", "/v1/users/{user}/messages"),
    ("POST", "/v1/users/{user}/subscriptions"),
    ("DELETE", "/v1/users/{user}/subscriptions"),
}


def get(url):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def calls(document):
    """The calls of a description."""
    return {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
    }


def carried_out(metrics):
    """The calls that were answered 200, as the broker counted them."""
    pattern = r'fanfare_http_requests_total\{method="(\w+)",route="([^"]+)",status="200"\} \d'
    return set(re.findall(pattern, metrics))


def test(url, schemathesis, home):
    # Sessions to look at, to subscribe and to send away.
    streams = [urllib.request.urlopen(f"{url}/sse?topic=a", timeout=600) for _ in range(SESSIONS)]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
    tested = subprocess.run(
        [
            schemathesis,
            f"--config-file={HERE / 'schemathesis.toml'}",
            "run",
            f"{url}/openapi.json",
            f"--header=Authorization: Bearer {KEY}",
            "--phases=examples,coverage,fuzzing,stateful",
            "--max-examples=40",
            "--seed=1",
            "--continue-on-failure",
        ],
        cwd=home,
        env=environment,
        check=False,
    )
    del streams
    document = json.loads(get(f"{url}/openapi.json"))
    described = calls(document)
    left_out = described - carried_out(get(f"{url}/metrics")) - FOR_NOBODY
    for method, path in sorted(left_out):
        print(f"never carried out: {method} {path}", file=sys.stderr)
    return tested.returncode == 0 and not left_out


def main(fanfare, schemathesis):
    with tempfile.TemporaryDirectory() as home:
        broker = subprocess.Popen(
            [fanfare, "--config", str(HERE / "broker.toml")],
            cwd=home,
            env={"FANFARE_TESTER_KEY": KEY},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            url = broker.stdout.readline().split()[-1].rstrip("/")
            passed = test(url, schemathesis, home)
            # Whatever was asked of it, it still answers and has not been started anew.
            passed = passed and broker.poll() is None
        finally:
            broker.terminate()
            broker.wait()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
