// What the tests share: a broker to start and stop, a proxy that can cut connections, and a browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

export const BINARY = process.env.FANFARE_BIN ?? path.resolve(import.meta.dirname, "../../target/debug/fanfare");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

export { sleep };

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Asks again until `check` returns something true; what it threw last is the failure's cause. */
export async function until(what, check, withinMs = 10_000) {
  const end = Date.now() + withinMs;
  let cause;
  for (;;) {
    try {
      const found = await check();
      if (found) return found;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (Date.now() > end) throw new Error(`waited ${withinMs} ms in vain for: ${what}`, { cause });
    await sleep(25);
  }
}

/** `fanfare serve` on a port of its own, with nothing configured but what `environment` says. */
export class Broker {
  #child = null;
  #directory = null;
  #environment;
  #log = "";

  static async start(environment = {}) {
    const broker = new Broker();
    broker.#environment = environment;
    broker.port = await freePort();
    broker.#directory = await mkdtemp(path.join(tmpdir(), "fanfare-"));
    await broker.up();
    return broker;
  }

  get base() {
    return `http://127.0.0.1:${this.port}`;
  }

  async up() {
    assert.ok(existsSync(BINARY), `no broker at ${BINARY}: build it, or set FANFARE_BIN`);
    this.#child = spawn(BINARY, ["serve"], {
      cwd: this.#directory,
      env: { ...process.env, ...this.#environment, FANFARE__SERVER__LISTEN: `127.0.0.1:${this.port}` },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const keep = (chunk) => (this.#log = (this.#log + chunk).slice(-20_000));
    this.#child.stdout.on("data", keep);
    this.#child.stderr.on("data", keep);
    const child = this.#child;
    await until("the broker to be ready", async () => {
      if (child.exitCode !== null) throw new Error(`the broker ended with ${child.exitCode}:\n${this.#log}`);
      return (await fetch(`${this.base}/readyz`)).ok;
    });
  }

  /** Ends it without a word, as a crash would. */
  async kill() {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** Asks it to go, as a supervisor does; resolves with its exit code once it has. */
  async drain() {
    const child = this.#child;
    this.#child = null;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    const [code] = await gone;
    return code;
  }

  async stop() {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async publish(topic, body, contentType = "text/plain") {
    const response = await fetch(`${this.base}/v1/topics/${topic}/messages`, {
      method: "POST",
      headers: { "content-type": contentType },
      body,
    });
    assert.equal(response.status, 200, await response.clone().text());
    return response.json();
  }
}

/** A TCP proxy before the broker. A browser's "offline" leaves open WebSockets alone; this does not. */
export class Proxy {
  #pairs = new Set();
  #deaf = new Set();
  #refusing = false;
  #watching = null;

  static async start(target) {
    const proxy = new Proxy();
    proxy.server = net.createServer((near) => proxy.#join(near, target)).listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.base = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  #join(near, target) {
    if (this.#refusing) return near.resetAndDestroy();
    const far = net.connect(target, "127.0.0.1");
    const pair = [near, far];
    this.#pairs.add(pair);
    near.on("data", (chunk) => far.write(chunk));
    far.on("data", (chunk) => {
      if (this.#deaf.has(pair) || near.writableEnded) return;
      const found = this.#watching ? chunk.indexOf(this.#watching.text) : -1;
      if (found < 0) return near.write(chunk);
      this.#deaf.add(pair);
      near.write(chunk.subarray(0, found + this.#watching.text.length));
      this.#watching.resolve();
    });
    for (const [one, other] of [pair, [far, near]]) {
      one.on("error", () => {});
      one.on("end", () => other.end());
      one.on("close", () => {
        other.destroy();
        this.#pairs.delete(pair);
        this.#deaf.delete(pair);
      });
    }
  }

  /** Drops all connections and lets no new one in until `mend`. */
  cut() {
    this.#refusing = true;
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
    this.#pairs.clear();
  }

  /** From here on the broker hears those that are connected now, but what it answers is lost. */
  swallowAnswers() {
    this.#deaf = new Set(this.#pairs);
  }

  /** Says to all sockets what a broker says that closes them, and then drops them. */
  closeSockets(code, reason) {
    const closing = JSON.stringify({ type: "closing", code, reason, reconnect: false });
    const close = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);
    for (const [near] of this.#pairs) {
      // Two frames as a server sends them: final, unmasked, short; the first is text, the second the close.
      near.write(Buffer.concat([Buffer.from([0x81, closing.length]), Buffer.from(closing)]));
      near.end(Buffer.concat([Buffer.from([0x88, close.length]), close]));
    }
  }

  mend() {
    this.#refusing = false;
  }

  /** Ends all connections behind what was answered already. */
  end() {
    for (const [near] of this.#pairs) near.end();
  }

  /** Cuts as soon as an answer comes that holds this, right behind it. */
  async cutWithin(text) {
    await new Promise((resolve) => {
      this.#watching = { text, resolve };
    });
    this.#watching = null;
    for (const [near, far] of this.#pairs) {
      // What was written is to arrive, so that there is a half of something.
      near.end();
      far.destroy();
    }
  }

  /** Nothing listens here any more. */
  async die() {
    this.cut();
    const closed = once(this.server, "close");
    this.server.close();
    await closed;
  }

  /** Listens again where it did before. */
  async return() {
    this.#refusing = false;
    this.server.listen(Number(new URL(this.base).port), "127.0.0.1");
    await once(this.server, "listening");
  }

  async stop() {
    this.cut();
    this.server.close();
  }
}

export function launchBrowser() {
  return chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
