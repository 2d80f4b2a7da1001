// What the dashboard says of a run is what the load generator counted, to the last message: with every protocol,
// with peers that do not read, and across a restart of the broker. docs/metrics.md says what counts as what.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { Broker } from "../node/support.mjs";
import { KEY, config } from "./config.mjs";
import { filledIn, panel } from "./dashboard.mjs";
import { Load } from "./load.mjs";
import { Prometheus } from "./prometheus.mjs";

/** How long the broker waits for a reader that does not read, in milliseconds. */
const PATIENCE = 5000;

let folder;
let broker;
let prometheus;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "fanfare-"));
});
after(async () => {
  await prometheus?.stop();
  await broker?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The next process finds this bound on the queue of a session in its configuration. */
async function configure(queue) {
  const session = `queue = "${queue}"\nwrite_timeout = "${PATIENCE}ms"`;
  const text = config({ server: 'drain = "2s"', session, kept: "history = { messages = 1000 }" });
  await writeFile(path.join(folder, "fanfare.toml"), text);
}

/**
 * By how much the counters behind a panel of rates rose between two scrapes, restarts included. It is the panel's
 * own query, zoomed out to that time: over a window that begins and ends with a scrape, a rate is no estimate.
 */
async function rise(title, label, from, to) {
  const [{ expr }] = panel(title).targets;
  const window = Math.round((to - from) * 1000);
  const series = await prometheus.query(filledIn(expr, { __rate_interval: `${window}ms` }), to);
  const counts = {};
  for (const { metric, value } of series) {
    const count = (value * window) / 1000;
    assert.ok(Math.abs(count - Math.round(count)) < 1e-3, `${title}: ${count} is no count`);
    if (Math.round(count) > 0) counts[metric[label]] = Math.round(count);
  }
  return counts;
}

/** What a panel of numbers says at a scrape. */
async function number(title, at) {
  const [{ value }] = await prometheus.query(filledIn(panel(title).targets[0].expr, {}), at);
  return value;
}

/** A scrape before anything happens, and another: from Prometheus 3 on, a window begins after its first moment. */
async function aScrapeAtRest() {
  const first = await prometheus.scraped();
  await prometheus.scraped();
  return first;
}

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

function added(one, other) {
  const both = { ...one };
  for (const [label, count] of Object.entries(other)) both[label] = (both[label] ?? 0) + count;
  return both;
}

async function agrees(load, from, to) {
  assert.deepEqual(await rise("New connections", "transport", from, to), load.connections);
  assert.deepEqual(await rise("Disconnects by code", "code", from, to), load.disconnects);
  assert.deepEqual(await rise("Handshakes refused by reason", "reason", from, to), load.refused);
  assert.deepEqual(await rise("Credentials not accepted", "reason", from, to), load.unauthorized);
  assert.deepEqual(await rise("Published by protocol", "protocol", from, to), load.published);
  assert.deepEqual(await rise("Publishes refused by code", "code", from, to), load.publishErrors);
  assert.deepEqual(await rise("Delivered by protocol", "protocol", from, to), load.delivered);
  assert.equal(sum(await rise("Dropped by reason", "reason", from, to)), load.dropped);
  assert.deepEqual(await rise("Recoveries by result", "result", from, to), load.recoveries);

  assert.equal(await number("Sessions begun", to), sum(load.connections));
  assert.equal(await number("Sessions ended", to), sum(load.disconnects));
  assert.equal(await number("Messages published", to), sum(load.published));
  assert.equal(await number("Messages delivered", to), sum(load.delivered));
  assert.equal(await number("Messages dropped", to), load.dropped);
  assert.equal(await number("Bytes still waiting", to), 0);
  // Each message that was to go to somebody was delivered, or dropped; none is in a queue.
  assert.equal(sum(load.delivered) + load.dropped, load.queued);

  const now = await prometheus.query(filledIn(panel("Connections by transport and protocol").targets[0].expr, {}), to);
  const open = {};
  for (const { metric, value } of now) if (value > 0) open[`${metric.transport} ${metric.protocol}`] = value;
  assert.deepEqual(open, load.open);
}

test("connections, publishes, deliveries and drops agree exactly, through slow readers and a restart", async () => {
  await configure("64MiB");
  broker = await Broker.start({ FANFARE_CONFIG: path.join(folder, "fanfare.toml"), TEST_KEY: KEY });
  prometheus = await Prometheus.start(`127.0.0.1:${broker.port}`, KEY);

  const start = await aScrapeAtRest();
  const one = new Load(broker, KEY);
  await one.everything({ messages: 120 });
  await one.aReaderThatStops({ batches: 6, patienceMs: PATIENCE });
  await one.settled();
  const beforeRestart = await prometheus.scraped();
  await agrees(one, start, beforeRestart);

  // The sessions are sent away, and come back to a broker whose history begins anew.
  await configure("256KiB");
  const positions = one.positions();
  assert.equal(await broker.drain(), 0);
  await one.sentAway();
  await broker.up();

  const restarted = await aScrapeAtRest();
  const two = new Load(broker, KEY);
  await two.comeBack(positions);
  await two.everything({ messages: 80 });
  await two.aReaderWhoseQueueFills();
  await two.settled();
  const end = await prometheus.scraped();
  await agrees(two, restarted, end);

  // And over both lives at once, as a dashboard shows them.
  for (const [title, label, counted] of [
    ["New connections", "transport", "connections"],
    ["Published by protocol", "protocol", "published"],
    ["Delivered by protocol", "protocol", "delivered"],
  ]) {
    assert.deepEqual(await rise(title, label, start, end), added(one[counted], two[counted]), title);
  }
  assert.equal(sum(await rise("Dropped by reason", "reason", start, end)), one.dropped + two.dropped);
});
