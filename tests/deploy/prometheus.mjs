// A real Prometheus with the configuration and the rules of deploy/prometheus, but for what a test cannot
// wait for: it scrapes and evaluates every second.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { parse, stringify } from "yaml";
import { freePort, until } from "../node/support.mjs";
import { DEPLOY } from "./dashboard.mjs";

const PROMETHEUS = process.env.PROMETHEUS ?? "prometheus";

/** Seconds between two scrapes. */
export const SCRAPE = 1;

export class Prometheus {
  #child;
  #folder;
  #log = "";

  /** Scrapes the broker at `host:port`, with an API key as in a deployment. */
  static async start(target, key) {
    const prometheus = new Prometheus();
    prometheus.#folder = await mkdtemp(path.join(tmpdir(), "fanfare-prometheus-"));
    const port = await freePort();
    prometheus.base = `http://127.0.0.1:${port}`;
    try {
      await prometheus.#configure(target, key);
      await prometheus.#run(port);
      await prometheus.scraped();
    } catch (error) {
      await prometheus.stop();
      throw error;
    }
    return prometheus;
  }

  async #configure(target, key) {
    const inside = (name) => path.join(this.#folder, name);
    await cp(path.join(DEPLOY, "prometheus/fanfare.rules.yml"), inside("fanfare.rules.yml"));
    const config = parse(await readFile(path.join(DEPLOY, "prometheus/prometheus.yml"), "utf8"));
    config.global.scrape_interval = `${SCRAPE}s`;
    config.global.evaluation_interval = `${SCRAPE}s`;
    const [scrape] = config.scrape_configs;
    scrape.static_configs = [{ targets: [target] }];
    scrape.authorization.credentials_file = inside("key");
    await writeFile(inside("key"), key, { mode: 0o600 });
    await writeFile(inside("prometheus.yml"), stringify(config));
  }

  async #run(port) {
    const options = [
      `--config.file=${this.#folder}/prometheus.yml`,
      `--storage.tsdb.path=${this.#folder}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ];
    this.#child = spawn(PROMETHEUS, options, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child.stderr.on("data", (chunk) => (this.#log = (this.#log + chunk).slice(-20_000)));
    const failed = once(this.#child, "error").then(([error]) => {
      throw new Error(`no ${PROMETHEUS}: install Debian's package of that name, or set PROMETHEUS`, { cause: error });
    });
    const ready = until("Prometheus to be ready", async () => {
      if (this.#child.exitCode !== null) throw new Error(`Prometheus ended:\n${this.#log}`);
      return (await fetch(`${this.base}/-/ready`)).ok;
    });
    await Promise.race([ready, failed]);
  }

  async stop() {
    if (this.#child?.exitCode === null) {
      const gone = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await gone;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async get(call, fields = {}) {
    const response = await fetch(`${this.base}/api/v1/${call}?${new URLSearchParams(fields)}`);
    const answer = await response.json();
    assert.equal(answer.status, "success", `${fields.query ?? call}: ${answer.error}`);
    return answer.data;
  }

  /** The series of an instant query, each with its `metric` and its `value`, at a time in seconds. */
  async query(query, time) {
    const { result } = await this.get("query", { query, ...(time && { time }) });
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  /** The series of a range query, each with its `metric` and its `values`. */
  async range(query, start, end, step) {
    const { result } = await this.get("query_range", { query, start, end, step });
    return result.map(({ metric, values }) => ({ metric, values: values.map(([, value]) => Number(value)) }));
  }

  /** Waits until it has answers of the broker that are younger than this call; gives the time of the newest. */
  async scraped() {
    const asked = Date.now() / 1000;
    return until("a scrape", async () => {
      const [{ lastError }] = (await this.get("targets")).activeTargets;
      if (lastError) throw new Error(`the scrape fails: ${lastError}`);
      // `timestamp` of a selector is the sample's own time, not that of the query.
      const [last] = await this.query("timestamp(fanfare_build_info)");
      return last?.value > asked && last.value;
    });
  }
}
