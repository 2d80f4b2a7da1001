// A load that knows, by itself, what a broker should have counted of it.

import assert from "node:assert/strict";
import { until } from "../node/support.mjs";
import { EventStream, Session, received, request } from "./clients.mjs";

const TOPIC = "kept/all";
const BIG = "x".repeat(32_000);

/** What one life of the broker is asked to do, and the sums of it. Counts that are 0 are not there. */
export class Load {
  connections = {};
  disconnects = {};
  refused = {};
  unauthorized = {};
  published = {};
  publishErrors = {};
  delivered = {};
  recoveries = {};
  /** Connected now, by transport and protocol. */
  open = {};
  /** Messages that were queued for somebody. */
  queued = 0;
  dropped = 0;

  #broker;
  #key;
  #staying = new Map();

  constructor(broker, key) {
    this.#broker = broker;
    this.#key = key;
  }

  #add(counts, label, n = 1) {
    if (n > 0) counts[label] = (counts[label] ?? 0) + n;
  }

  async #session(protocol, options = {}) {
    const session = await Session.open(this.#broker.base, { protocol: `fanfare.v1.${protocol}`, ...options });
    this.#add(this.connections, "websocket");
    return session;
  }

  /** A session has ended, after so many messages in all were to go to it. */
  #ended(code) {
    this.#add(this.disconnects, code);
  }

  /** All that a client of that protocol should get has come. */
  #got(protocol, client) {
    this.#add(this.delivered, protocol, client.received);
    this.queued += client.received;
  }

  async #http(path, body, options = {}) {
    return request(this.#broker.base, "POST", path, { body: JSON.stringify(body), key: this.#key, ...options });
  }

  /** Messages by every way in, to subscribers of every kind, of whom some stay. */
  async everything({ messages }) {
    const byName = [await this.#session("json"), await this.#session("json")];
    for (const session of byName) await session.do({ type: "subscribe", topic: TOPIC });
    const byFilter = await this.#session("json");
    await byFilter.do({ type: "subscribe", topic: "kept/#" });
    await byFilter.do({ type: "subscribe", topic: TOPIC });
    const silent = await this.#session("json");
    await silent.do({ type: "subscribe", topic: TOPIC, echo: false });
    const packed = await this.#session("msgpack");
    await packed.do({ type: "subscribe", topic: TOPIC });
    const raw = [await this.#session("raw", { path: `/ws?topic=${TOPIC}` })];
    raw.push(await this.#session("raw", { path: `/ws?topic=${TOPIC}` }));
    const streams = [await EventStream.open(this.#broker.base, `topic=${TOPIC}`)];
    streams.push(await EventStream.open(this.#broker.base, "topic=kept/%2B"));
    this.#add(this.connections, "sse", 2);

    // A subscriber who publishes gets its own unless it said otherwise.
    for (let n = 0; n < messages; n++) {
      const from = n % 3 === 0 ? silent : byName[0];
      await from.do({ type: "publish", topic: TOPIC, data: { n, text: "from a session" } });
      await packed.do({ type: "publish", topic: TOPIC, data: new Uint8Array([n]) });
      raw[0].socket.send(`raw ${n}`);
      const single = await this.#http(`/v1/topics/${TOPIC}/messages`, { n });
      assert.equal(single.status, 200);
    }
    const batch = await this.#http("/v1/publish", Array.from({ length: messages }, (_, n) => ({ topic: TOPIC, data: n })));
    assert.equal(batch.status, 200);
    for (const protocol of ["json", "msgpack", "raw"]) this.#add(this.published, protocol, messages);
    this.#add(this.published, "http", 2 * messages);

    // The endpoint says who comes and goes, also to the one who comes; whoever has the filter hears it too.
    const guest = await this.#session("raw", { path: "/chat" });
    guest.socket.send("hello");
    await received([[guest, 2]]);
    await guest.close();
    this.#ended(1000);
    this.#add(this.published, "internal", 2);
    this.#add(this.published, "raw", 1);

    const all = 5 * messages;
    const own = Math.ceil(messages / 3);
    await received([
      ...byName.map((session) => [session, all]),
      [byFilter, all + 3],
      [silent, all - own],
      ...[packed, ...raw].map((session) => [session, all]),
      [streams[0], all],
      [streams[1], all + 3],
    ]);
    // What is replayed is delivered like anything else.
    const late = await this.#session("json");
    const { replayed } = await late.do({ type: "subscribe", topic: TOPIC, last: 7 });
    assert.equal(replayed, 7);
    await received([[late, 7]]);

    for (const session of [...byName, byFilter, silent, late]) this.#got("json", session);
    this.#got("msgpack", packed);
    for (const session of [...raw, guest]) this.#got("raw", session);
    for (const stream of streams) this.#got("sse", stream);

    await this.#recovery(late.last.get(TOPIC));
    await this.#refusals();

    await late.close(4321);
    this.#ended("app");
    await raw[1].vanish();
    this.#ended(1006);
    await streams[1].close();
    this.#ended(1006);
    for (const session of [...byName, byFilter, silent]) this.#stays("websocket json", session);
    this.#stays("websocket msgpack", packed);
    this.#stays("websocket raw", raw[0]);
    this.#stays("sse sse", streams[0]);
  }

  #stays(kind, client) {
    this.#staying.set(client, kind);
    this.#add(this.open, kind);
  }

  /** One who missed three, and one who was away for too long. */
  async #recovery({ epoch, offset }) {
    const back = await this.#session("json");
    const ok = await back.do({ type: "subscribe", topic: TOPIC, since: { epoch, offset: offset - 3 } });
    assert.equal(ok.recovered, true);
    this.#add(this.recoveries, "recovered");
    await received([[back, 3]]);
    this.#got("json", back);
    await back.close();
    this.#ended(1000);
    await this.comeBack(new Map([[TOPIC, { epoch: "longago", offset: 1 }]]));
  }

  /** One who asks for what came after these positions, of which the broker knows nothing. */
  async comeBack(positions) {
    const back = await this.#session("json");
    for (const [topic, since] of positions) {
      assert.equal((await back.do({ type: "subscribe", topic, since })).recovered, false);
      this.#add(this.recoveries, "gap");
    }
    await back.close();
    this.#ended(1000);
  }

  /** What is refused, by its reason, at every door. */
  async #refusals() {
    const { base } = this.#broker;
    const refused = async (options, reason) => {
      await assert.rejects(Session.open(base, options), /Unexpected server response/);
      this.#add(this.refused, reason);
    };
    await refused({ protocol: "no.such.protocol" }, "malformed");
    await refused({ path: "/ws?topic=a%2F%23%2Fb" }, "invalid_topic");
    await refused({ path: "/ws?topic=secret" }, "forbidden");
    await refused({ origin: "http://elsewhere.example" }, "origin");
    await refused({ headers: { authorization: "Bearer unheard-of" } }, "credentials");
    this.#add(this.unauthorized, "unknown");

    const session = await this.#session("json");
    assert.equal((await session.ask({ type: "publish", topic: "secret", data: 1 })).code, "forbidden");
    this.#add(this.publishErrors, "forbidden");
    assert.equal((await this.#http("/v1/publish", { topic: TOPIC, data: "x".repeat(70_000) })).status, 413);
    this.#add(this.publishErrors, "too_large");
    assert.equal((await this.#http("/v1/publish", { topic: TOPIC, data: 1 }, { key: "another" })).status, 401);
    this.#add(this.unauthorized, "unknown");
    await session.close();
    this.#ended(1000);
  }

  /** A subscriber who reads no more, until it is ended because its queue is not emptied in time. */
  async aReaderThatStops({ batches, patienceMs }) {
    const slow = await this.#paused("live/slow");
    const batch = Array.from({ length: 100 }, () => ({ topic: "live/slow", data: BIG }));
    const messages = batches * batch.length;
    const begun = Date.now();
    for (let n = 0; n < batches; n++) assert.equal((await this.#http("/v1/publish", batch)).status, 200);
    this.#add(this.published, "http", messages);
    assert.ok(Date.now() - begun < patienceMs, "the last were published when the slow reader was no longer there");
    await until("the slow reader to be ended", async () => (await this.#now()).slow === 1);
    await this.#whatSlowGot(slow, messages);
  }

  /** A subscriber who reads no more, until it is ended because its queue is full. */
  async aReaderWhoseQueueFills() {
    const slow = await this.#paused("live/slow");
    const first = await this.#now();
    let messages = 0;
    for (let last = first; last.dropped === first.dropped; messages++) {
      assert.equal((await this.#http("/v1/topics/live/slow/messages", BIG)).status, 200);
      this.#add(this.published, "http");
      // The next one waits until this one is written, queued or dropped: so all of them were meant for the reader.
      last = await until("the message to be dealt with", async () => {
        const now = await this.#now();
        return ["delivered", "dropped", "bytes"].some((what) => now[what] !== last[what]) && now;
      });
    }
    await this.#whatSlowGot(slow, messages);
  }

  async #paused(topic) {
    const slow = await this.#session("json", { perMessageDeflate: false });
    await slow.do({ type: "subscribe", topic });
    slow.socket.pause();
    return slow;
  }

  /** What the kernel took is there to be read; the rest of what was meant for it was dropped. */
  async #whatSlowGot(slow, messages) {
    slow.socket.resume();
    // 1006 where the kernel took no more of the frame that says why.
    assert.ok([4008, 1006].includes(await slow.closed));
    this.#ended(4008);
    assert.ok(slow.received > 0 && slow.received < messages, `${slow.received} of ${messages}`);
    this.#add(this.delivered, "json", slow.received);
    this.dropped += messages - slow.received;
    this.queued += messages;
  }

  /** Where those who stay are, in every topic. */
  positions() {
    const [session] = this.#staying.keys();
    return session.last;
  }

  /** Those who stayed have been sent away. */
  async sentAway() {
    for (const [client, kind] of this.#staying) {
      const code = await client.closed;
      if (kind.startsWith("websocket")) assert.equal(code, 1001);
    }
  }

  /** The broker has dealt with all of it. */
  async settled() {
    await until("the broker to be at rest", async () => {
      const { bytes, sessions } = await this.#now();
      return bytes === 0 && sessions === this.#staying.size;
    });
  }

  /** What the broker says of itself. It is waited for, and never counted. */
  async #now() {
    const { body } = await request(this.#broker.base, "GET", "/metrics");
    const sum = (name) =>
      body
        .split("\n")
        .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
        .reduce((all, line) => all + Number(line.slice(line.lastIndexOf(" "))), 0);
    return {
      sessions: sum("fanfare_connections"),
      bytes: sum("fanfare_session_queued_bytes"),
      delivered: sum("fanfare_messages_delivered_total"),
      dropped: sum("fanfare_messages_dropped_total"),
      slow: sum('fanfare_disconnects_total{code="4008"}'),
    };
  }
}
