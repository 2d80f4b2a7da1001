#!/usr/bin/env python3
"""Publishes the load of this machine once a second. Needs nothing but Python 3.8."""

import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

URL = os.environ.get("FANFARE_HTTP", "http://127.0.0.1:8080")


def key():
    """The key of the environment, else that of .env."""
    if os.environ.get("FANFARE_TOKEN"):
        return os.environ["FANFARE_TOKEN"]
    for line in Path(__file__).parent.parent.joinpath(".env").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "FANFARE_TOKEN":
            return value
    raise SystemExit("no FANFARE_TOKEN in the environment or in .env")


def publish(topic, data):
    """Publishes a JSON value. The answer says where it stands in the topic's history."""
    request = urllib.request.Request(
        f"{URL}/v1/topics/{topic}/messages",
        data=json.dumps(data).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


KEY = key()

try:
    publish("chat/lobby", {"name": "Python", "text": "Hello from the backend"})
    while True:
        load = os.getloadavg()[0]
        try:
            answer = publish("live/load", {"from": "Python", "load": round(load, 2)})
            print(f"{load:.2f} is message {answer['offset']}, {answer['subscribers']} listening", flush=True)
        except OSError as error:
            # The next one is as good; what must not be lost would be tried again here.
            print(f"not published: {error}", flush=True)
        time.sleep(1)
except urllib.error.HTTPError as error:
    raise SystemExit(f"refused: {error}: {error.read().decode()}")
except urllib.error.URLError as error:
    raise SystemExit(f"no broker at {URL}: {error.reason}; start it with fanfare serve")
except KeyboardInterrupt:
    pass
