// A load that moves every series of a broker, for as long as it takes Prometheus to see it.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../node/support.mjs";
import { EventStream, Session, request } from "./clients.mjs";
import { KEY, config } from "./config.mjs";

export const CONFIG = config({
  // A few scrapes long.
  server: 'drain = "5s"',
  session: 'queue = "64MiB"\nwrite_timeout = "3s"',
  kept: "history = { messages = 500 }\ndurability = \"synced\"\npresence = true\njoin_leave = true\nretain = true",
  endpoint: "last = 3",
  // The timeout is longer than a reader that stops is waited for, which answers no ping either.
  more: `
[store]
kind = "disk"
[limits]
memory = "4GiB"
[heartbeat]
interval = "1s"
timeout = "6s"

[metrics]
per_topic = ["kept/#"]
`,
});

const SECONDS = 15;
const BIG = "x".repeat(32_000);

export class Busy {
  #broker;
  #base;

  constructor(broker) {
    this.#broker = broker;
    this.#base = broker.base;
  }

  /** A restart, and then everything at once, again and again. */
  async run() {
    await this.#restart();
    const end = Date.now() + SECONDS * 1000;
    const readers = await this.#readers();
    await Promise.all([
      this.#again(end, 20, () => this.#publish(readers)),
      this.#again(end, 1000, () => this.#comeAndGo()),
      this.#again(end, 1000, () => this.#refused()),
      this.#again(end, 1000, () => this.#publishAgain()),
      this.#aReaderThatStops(),
      this.#aReaderThatIsMute(),
    ]);
    for (const reader of readers) await reader.close();
  }

  /** Sessions are sent away, and publishes are refused, until the broker is gone; then there is another. */
  async #restart() {
    // The more there are, the more of the drain's time it takes.
    const sessions = [];
    for (let n = 0; n < 4; n++) sessions.push(...(await this.#readers()));
    let gone = false;
    const drained = this.#broker.drain().finally(() => (gone = true));
    while (!gone) {
      const answer = await this.#post("/v1/topics/live/a/messages", 1).catch(() => undefined);
      assert.ok([undefined, 200, 503].includes(answer?.status), answer?.status);
      await sleep(50);
    }
    assert.equal(await drained, 0);
    await Promise.all(sessions.map(({ closed }) => closed));
    await this.#broker.up();
  }

  async #again(end, everyMs, act) {
    for (; Date.now() < end; await sleep(everyMs)) await act();
  }

  #open(options) {
    return Session.open(this.#base, options);
  }

  #post(path, body, options) {
    return request(this.#base, "POST", path, { body: JSON.stringify(body), key: KEY, ...options });
  }

  async #readers() {
    const json = await this.#open();
    await json.do({ type: "subscribe", topic: "kept/a" });
    await json.do({ type: "subscribe", topic: "live/#" });
    const packed = await this.#open({ protocol: "fanfare.v1.msgpack" });
    await packed.do({ type: "subscribe", topic: "kept/a" });
    const raw = await this.#open({ protocol: "fanfare.v1.raw", path: "/ws?topic=kept/a" });
    // One that says nothing, and so is pinged.
    const idle = await this.#open();
    return [json, raw, packed, await EventStream.open(this.#base, "topic=kept/a"), idle];
  }

  async #publish([json, raw, packed]) {
    await json.do({ type: "publish", topic: "kept/a", data: { some: "data" } });
    // Long enough to be compressed.
    await json.do({ type: "publish", topic: "kept/a", data: "more data, ".repeat(100) });
    await packed.do({ type: "publish", topic: "kept/a", data: new Uint8Array([1, 2, 3]) });
    raw.socket.send("some text");
    assert.equal((await this.#post("/v1/topics/kept/b/messages", { some: "data" })).status, 200);
  }

  /** A publisher that did not hear the answer, and tries again. */
  async #publishAgain() {
    const headers = { "idempotency-key": String(Date.now()) };
    const answers = [];
    for (let n = 0; n < 2; n++) answers.push(await this.#post("/v1/topics/kept/b/messages", 1, { headers }));
    assert.equal(answers[0].body.offset, answers[1].body.offset);
  }

  /** Clients of every kind, leaving in every way; one of them recovers and one cannot. */
  async #comeAndGo() {
    const guest = await this.#open({ protocol: "fanfare.v1.raw", path: "/chat" });
    guest.socket.send("hello");
    await guest.close(4200);
    assert.equal((await this.#post("/v1/topics/kept/c/messages?retain=true", "the newest")).status, 200);
    const first = await this.#open();
    const { epoch, offset } = await first.do({ type: "subscribe", topic: "kept/a" });
    await first.vanish();
    const back = await this.#open();
    const recovered = await back.do({ type: "subscribe", topic: "kept/a", since: { epoch, offset } });
    assert.equal(recovered.recovered, true);
    const lost = await back.do({ type: "subscribe", topic: "kept/b", since: { epoch: "longago", offset: 1 } });
    assert.equal(lost.recovered, false);
    await back.close(1000);
  }

  async #refused() {
    await assert.rejects(this.#open({ protocol: "no.such.protocol" }));
    await assert.rejects(this.#open({ origin: "http://elsewhere.example" }));
    await assert.rejects(this.#open({ headers: { authorization: "Bearer unheard-of" } }));
    const publish = (body, options) => this.#post("/v1/publish", body, options);
    assert.equal((await publish({ topic: "kept/a", data: "x".repeat(70_000) })).status, 413);
    assert.equal((await publish({ topic: "kept/a", data: 1 }, { key: "another" })).status, 401);
    assert.equal((await request(this.#base, "GET", "/no/such/path")).status, 404);
  }

  /** Ended because its queue is not emptied. What waits for it is there for a few scrapes to see. */
  async #aReaderThatStops() {
    // Compressed, what fills the queue of this one would come to next to nothing.
    const slow = await this.#open({ perMessageDeflate: false });
    await slow.do({ type: "subscribe", topic: "kept/slow" });
    slow.socket.pause();
    for (let n = 0; n < 600; n++) await this.#post("/v1/topics/kept/slow/messages", BIG);
    await until("the slow reader to be ended", async () => {
      const { body } = await request(this.#base, "GET", "/metrics");
      return /^fanfare_disconnects_total\{code="4008"\} 1$/m.test(body);
    });
    slow.socket.resume();
    await slow.closed;
  }

  /** Ended because it answers no ping. */
  async #aReaderThatIsMute() {
    const mute = await this.#open({ autoPong: false });
    assert.equal(await mute.closed, 4009);
  }
}
