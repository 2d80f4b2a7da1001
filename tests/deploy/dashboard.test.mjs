// The dashboard and the rules, asked of a real Prometheus that watched a busy broker: every query has an answer,
// and where something happened the answer says so.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { Broker } from "../node/support.mjs";
import { Busy, CONFIG } from "./busy.mjs";
import { KEY } from "./config.mjs";
import { dashboard, inGrafana, metricsNamed, panels, variables } from "./dashboard.mjs";
import { Prometheus, SCRAPE } from "./prometheus.mjs";

/** What stays at 0 in a run where nothing is wrong: that there is an answer is all that can be asked. */
const MAY_BE_ZERO = new Map([
  ["Alerts firing", "none of them fires within the minute that it takes"],
  ["Panics", "a panic would be a fault of the broker's"],
  ["Panics by place", "likewise"],
  ["Registry mailbox", "a registry that keeps up has nothing waiting when it is looked at"],
  ["Limits exceeded", "nobody does too much"],
  ["Short of descriptors", "there are enough"],
  ["Short of memory", "there is enough"],
  ["Faults of the store", "the disk works"],
  ["Bytes still waiting", "nothing waits when the run is over"],
]);

let folder;
let broker;
let prometheus;
let start;
let end;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "fanfare-"));
  const file = path.join(folder, "fanfare.toml");
  await writeFile(file, CONFIG);
  const store = path.join(folder, "data");
  broker = await Broker.start({ FANFARE_CONFIG: file, FANFARE__STORE__PATH: store, TEST_KEY: KEY });
  prometheus = await Prometheus.start(`127.0.0.1:${broker.port}`, KEY);
  start = Math.floor(Date.now() / 1000);
  await new Busy(broker).run();
  end = Math.ceil(await prometheus.scraped());
});
after(async () => {
  await prometheus?.stop();
  await broker?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The values of all series of a query of the dashboard's, over the run. */
async function values(expr, instant) {
  const query = inGrafana(expr, { range: end - start, step: SCRAPE, scrape: SCRAPE });
  if (instant) return (await prometheus.query(query, end)).map(({ value }) => value);
  return (await prometheus.range(query, start, end, SCRAPE)).flatMap(({ values }) => values);
}

for (const { title, targets } of panels) {
  for (const { refId, expr, instant } of targets) {
    test(`panel '${title}', query ${refId}, has data`, async () => {
      const numbers = (await values(expr, instant)).filter((value) => !Number.isNaN(value));
      assert.ok(numbers.length > 0, `no data: ${expr}`);
      if (MAY_BE_ZERO.has(title)) return;
      assert.ok(numbers.some((value) => value > 0), `only 0: ${expr}`);
    });
  }
}

test("the chosen job and instance are what is scraped", async () => {
  for (const { query } of variables) {
    const [, selector, label] = query.query.match(/^label_values\((.+), (\w+)\)$/);
    const match = inGrafana(selector, { range: end - start, step: SCRAPE, scrape: SCRAPE });
    const found = await prometheus.get(`label/${label}/values`, { "match[]": match });
    assert.deepEqual(found, [label === "job" ? "fanfare" : `127.0.0.1:${broker.port}`]);
  }
});

test("the restart is noted in every panel", async () => {
  const { target } = dashboard.annotations.list.find(({ name }) => name === "Restarts");
  assert.ok((await values(target.expr, false)).some((value) => value > 0));
});

test("every series of the broker's is on the dashboard", async () => {
  const exposed = await (await fetch(`${broker.base}/metrics`)).text();
  const families = [...exposed.matchAll(/^# TYPE (\S+)/gm)].map(([, family]) => family);
  assert.ok(families.includes("fanfare_topic_subscribers"), "also those that are there on request");
  const asked = metricsNamed(panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join("\n"));
  const shown = new Set([...asked].map((name) => name.replace(/_(bucket|sum|count)$/, "")));
  assert.deepEqual(families.filter((family) => !shown.has(family)), []);
  assert.deepEqual([...shown].filter((family) => !families.includes(family)), []);
});

test("the load spoke every protocol there is", async () => {
  for (const name of ["fanfare_messages_published_total", "fanfare_messages_delivered_total"]) {
    const silent = (await prometheus.query(name, end)).filter(({ value }) => value === 0);
    assert.deepEqual(silent.map(({ metric }) => metric.protocol), [], name);
  }
});

test("every rule is evaluated, and every recording has values", async () => {
  const { groups } = await prometheus.get("rules");
  const rules = groups.flatMap(({ rules }) => rules);
  assert.ok(rules.length > 0);
  for (const { name, health, lastError } of rules) assert.equal(health, "ok", `${name}: ${lastError}`);
  for (const { name } of rules.filter(({ type }) => type === "recording")) {
    const recorded = (await prometheus.range(name, start, end, SCRAPE)).flatMap(({ values }) => values);
    assert.ok(recorded.some((value) => !Number.isNaN(value)), `${name} has no values`);
  }
});
