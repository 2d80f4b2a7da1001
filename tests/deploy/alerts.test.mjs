// Each alert says what to do, has a page that says more, and has been seen firing by promtool.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { DEPLOY, metricsNamed } from "./dashboard.mjs";

const read = (file) => readFileSync(path.join(DEPLOY, file), "utf8");
const rules = parse(read("prometheus/fanfare.rules.yml")).groups.flatMap(({ rules }) => rules);
const alerts = rules.filter(({ alert }) => alert);
const operations = read("../docs/operations.md");

/** The text under each heading, by the anchor that a link to it has. */
const sections = new Map(
  operations.split(/^(?=#{1,3} )/m).map((section) => {
    const [heading, ...text] = section.split("\n");
    const words = heading.replace(/^#+ /, "").toLowerCase();
    return [words.replace(/[^\w -]/g, "").replaceAll(" ", "-"), text.join("\n").trim()];
  }),
);

for (const { alert, labels, annotations } of alerts) {
  test(`${alert} says how bad it is, what it means, and where to read what to do`, () => {
    assert.ok(["critical", "warning"].includes(labels.severity));
    assert.ok(annotations.summary.length > 10);
    assert.ok(annotations.description.length > 30);
    assert.equal(annotations.runbook, `docs/operations.md#${alert.toLowerCase()}`);
    assert.ok(sections.get(alert.toLowerCase())?.length > 80, `docs/operations.md says nothing of ${alert}`);
  });
}

test("the documentation describes no alert that there is not", () => {
  const known = alerts.map(({ alert }) => alert.toLowerCase());
  const described = [...sections.keys()].filter((anchor) => /^fanfare\w+$/.test(anchor));
  assert.deepEqual(described.sort(), known.sort());
});

test("the documentation's links within the page lead somewhere", () => {
  const links = [...operations.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor);
  assert.ok(links.length > 0);
  assert.deepEqual(links.filter((anchor) => !sections.has(anchor)), []);
});

test("promtool sees every alert fire", () => {
  const tests = parse(read("prometheus/fanfare.test.yml")).tests;
  const expected = tests.flatMap(({ promql_expr_test }) => promql_expr_test).flatMap(({ exp_samples }) => exp_samples);
  const fired = new Set(expected.map(({ labels }) => labels.match(/alertname="(\w+)"/)?.[1]));
  assert.deepEqual(alerts.filter(({ alert }) => !fired.has(alert)).map(({ alert }) => alert), []);
});

test("rules ask for series that there are", () => {
  const documented = metricsNamed(read("../docs/metrics.md"));
  const recorded = new Set(rules.map(({ record }) => record).filter(Boolean));
  for (const { alert, record, expr } of rules) {
    for (const name of expr.match(/\b\w*:?(?:fanfare|process)_[\w:]+/g) ?? []) {
      const family = name.replace(/_(bucket|sum|count)$/, "");
      assert.ok(recorded.has(name) || documented.has(family), `${alert ?? record}: ${name}`);
    }
  }
});
