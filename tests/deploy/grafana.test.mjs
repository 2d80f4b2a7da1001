// The dashboard and what provisions it, held against the types of Grafana, and against what an operator needs.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { DEPLOY, dashboard, filledIn, panels, variables } from "./dashboard.mjs";
import { checkOf } from "./schema.mjs";

const yaml = (file) => parse(readFileSync(path.join(DEPLOY, file), "utf8"));
const compose = yaml("compose/compose.yaml");

test("the dashboard is one to Grafana", () => {
  // What a data source adds to an annotation is its own; the type has what Grafana's own store adds.
  const withoutQueries = structuredClone(dashboard);
  for (const annotation of withoutQueries.annotations.list.filter(({ builtIn }) => !builtIn)) {
    assert.deepEqual(Object.keys(annotation.target).sort(), ["expr", "refId"]);
    delete annotation.target;
    delete annotation.titleFormat;
  }
  assert.deepEqual(checkOf("dashboard", "Dashboard")(withoutQueries), []);
});

for (const type of new Set(panels.map(({ type }) => type))) {
  test(`what the panels of type ${type} are set to is known to Grafana`, () => {
    const options = checkOf(`composable/${type}/panelcfg`, "Options");
    const ofThisType = panels.filter((panel) => panel.type === type);
    for (const panel of ofThisType) assert.deepEqual(options(panel.options), [], panel.title);
    const drawn = ofThisType.filter(({ fieldConfig }) => fieldConfig.defaults.custom);
    if (drawn.length === 0) return;
    const fields = checkOf(`composable/${type}/panelcfg`, "FieldConfig");
    for (const panel of drawn) assert.deepEqual(fields(panel.fieldConfig.defaults.custom), [], panel.title);
  });
}

test("the schema would tell of a misspelt key, and of a value that is none", () => {
  const broken = structuredClone(dashboard);
  const panel = broken.panels.find(({ type }) => type === "stat");
  panel.titel = panel.title;
  panel.fieldConfig.defaults.thresholds.mode = "relative";
  const faults = checkOf("dashboard", "Dashboard")(broken).join("\n");
  assert.match(faults, /"additionalProperty":"titel"/);
  assert.match(faults, /thresholds\/mode must be equal to one of the allowed values/);
});

test("every panel says what it shows, in which unit, and asks the chosen data source", () => {
  // Of the names in https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts
  const units = ["none", "short", "s", "bytes", "Bps", "percentunit", "cps", "mps", "reqps"];
  for (const { title, type, description, datasource, fieldConfig, targets } of panels) {
    assert.ok(title, "a panel without a title");
    assert.ok(description?.length > 20, `${title}: no description`);
    if (type !== "table") assert.ok(units.includes(fieldConfig.defaults.unit), `${title}: ${fieldConfig.defaults.unit}`);
    assert.ok(targets.length > 0, `${title}: no query`);
    assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, `${title}: one refId twice`);
    for (const asked of [datasource, ...targets.map((target) => target.datasource)]) {
      assert.deepEqual(asked, { type: "prometheus", uid: "${datasource}" }, title);
    }
  }
  for (const key of ["id", "title"]) {
    assert.equal(new Set(panels.map((panel) => panel[key])).size, panels.length, `two panels have one ${key}`);
  }
});

test("every query keeps to the chosen job and, but for alerts, to the chosen instance", () => {
  for (const { title, targets } of panels) {
    for (const { expr } of targets) {
      const selectors = [...expr.matchAll(/\b(up|ALERTS|(?:fanfare|process)_\w+)(\{[^}]*\})?/g)];
      assert.ok(selectors.length > 0, title);
      for (const [, name, selector] of selectors) {
        assert.match(selector ?? "", /job=~"\$job"/, `${title}: ${name}`);
        if (name !== "ALERTS") assert.match(selector, /instance=~"\$instance"/, `${title}: ${name}`);
      }
      // Throws if something is asked of a variable that there is not.
      filledIn(expr, { __interval: "1s", __rate_interval: "4s", __range: "1m" });
    }
  }
  assert.deepEqual(variables.map(({ name }) => name), ["job", "instance"]);
});

test("panels lie in a grid, side by side, none over another", () => {
  const taken = new Map();
  for (const { title, gridPos } of dashboard.panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.equal(taken.get(`${x},${y}`), undefined, `${title} lies over another`);
        taken.set(`${x},${y}`, title);
      }
    }
  }
});

test("what an operator looks at first is on top: a screen of numbers", () => {
  const [first, second] = dashboard.panels.filter(({ type }) => type === "row");
  const onTop = dashboard.panels.filter(({ gridPos }) => gridPos.y > first.gridPos.y && gridPos.y < second.gridPos.y);
  assert.ok(onTop.every(({ type }) => type === "stat"));
  assert.deepEqual(onTop.slice(0, 3).map(({ title }) => title), ["Brokers up", "Brokers ready", "Alerts firing"]);
});

test("Grafana finds the dashboard and Prometheus where compose puts them", () => {
  const { volumes, image } = compose.services.grafana;
  const mounted = new Map(volumes.map((volume) => volume.split(":").slice(0, 2).reverse()));
  const [provider] = yaml("grafana/provisioning/dashboards/fanfare.yaml").providers;
  const folder = path.join(DEPLOY, "compose", mounted.get(provider.options.path));
  assert.ok(existsSync(path.join(folder, "fanfare.json")));
  assert.equal(mounted.get("/etc/grafana/provisioning"), "../grafana/provisioning");

  const [source] = yaml("grafana/provisioning/datasources/prometheus.yaml").datasources;
  const url = new URL(source.url);
  assert.ok(compose.services[url.hostname], "the data source is a service");
  assert.ok(compose.services[url.hostname].ports.some((port) => port.endsWith(`:${url.port}`)));
  assert.equal(source.jsonData.timeInterval, yaml("prometheus/prometheus.yml").global.scrape_interval);

  // The types that the dashboard was held against are those of the Grafana that shows it.
  const schema = JSON.parse(readFileSync(new URL("./node_modules/@grafana/schema/package.json", import.meta.url)));
  assert.equal(image, `grafana/grafana:${schema.version}`);
});
