// The dashboard as Grafana reads it: its panels, its variables, its queries with the variables filled in.

import { readFileSync } from "node:fs";
import path from "node:path";

export const DEPLOY = path.resolve(import.meta.dirname, "../../deploy");

const FILE = path.join(DEPLOY, "grafana/dashboards/fanfare.json");

export const dashboard = JSON.parse(readFileSync(FILE, "utf8"));

/** Every panel that shows something, those in collapsed rows included. */
export const panels = dashboard.panels.flatMap((panel) => (panel.type === "row" ? panel.panels : [panel]));

export const variables = dashboard.templating.list.filter(({ type }) => type === "query");

/** The names of the metrics that some query, alert or annotation of the text asks for. */
export function metricsNamed(text) {
  return new Set(text.match(/\b(?:fanfare|process)_[a-z0-9_]+\b/g));
}

/**
 * What Grafana puts in place of its variables where `range` seconds are shown with a point every `step`, and all
 * values of each variable are chosen; `scrape` is the data source's scrape interval.
 */
export function inGrafana(query, { range, step, scrape }) {
  const rateInterval = Math.max(step + scrape, 4 * scrape);
  return filledIn(query, { __interval: `${step}s`, __rate_interval: `${rateInterval}s`, __range: `${range}s` });
}

/** The query with these values in place of Grafana's own variables, and everything in place of the dashboard's. */
export function filledIn(query, values) {
  const everything = (name) => variables.find((variable) => variable.name === name)?.allValue;
  return query.replace(/\$(?:\{(\w+)(?::\w+)?\}|(\w+))/g, (whole, braced, bare) => {
    const value = values[braced ?? bare] ?? everything(braced ?? bare);
    if (value === undefined) throw new Error(`nothing is known of ${whole} in ${query}`);
    return value;
  });
}

export function panel(title) {
  const found = panels.filter((panel) => panel.title === title);
  if (found.length !== 1) throw new Error(`${found.length} panels are called ${title}`);
  return found[0];
}
