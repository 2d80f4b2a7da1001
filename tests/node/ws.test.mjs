// The WebSocket protocol as a stock client sees it: https://github.com/websockets/ws, nothing of ours in between.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, afterEach, before, test } from "node:test";
import WebSocket from "ws";
import { Broker, sleep, until } from "./support.mjs";

let broker;
let clients = [];
let topics = 0;

before(async () => {
  broker = await Broker.start();
});
after(() => broker?.stop());
afterEach(() => {
  for (const { socket } of clients) socket.terminate();
  clients = [];
});

/** Keeps what it hears; everything else is the stock client. */
class Client {
  frames = [];

  static async open({ protocol = "fanfare.v1.json", query = "", base = broker.base } = {}) {
    const client = new Client();
    client.socket = new WebSocket(`${base.replace("http", "ws")}/ws${query}`, protocol ? [protocol] : []);
    clients.push(client);
    client.socket.on("message", (data, binary) => {
      client.frames.push(protocol === "fanfare.v1.raw" ? { data, binary } : JSON.parse(data));
    });
    client.closed = once(client.socket, "close").then(([code, reason]) => ({ code, reason: String(reason) }));
    client.closed.catch(() => {});
    await once(client.socket, "open");
    return client;
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** The first frame that fits, taken out, so that a second call finds the next. */
  async take(what, fits) {
    return until(`${what}; heard ${JSON.stringify(this.frames)}`, () => {
      const at = this.frames.findIndex(fits);
      return at >= 0 && this.frames.splice(at, 1)[0];
    });
  }

  type(type) {
    return this.take(`a ${type} frame`, (frame) => frame.type === type);
  }

  #id = 0;
  async ask(frame) {
    const id = ++this.#id;
    this.send({ ...frame, id });
    return this.take(`the answer to ${frame.type}`, (answer) => answer.id === id);
  }
}

const newTopic = () => `demo/ws-${++topics}-${process.pid}`;

test("the first frame is the welcome", async () => {
  const client = await Client.open();
  const welcome = await client.type("welcome");
  assert.equal(client.socket.protocol, "fanfare.v1.json");
  assert.equal(welcome.protocol, "fanfare.v1.json");
  assert.match(welcome.server, /^fanfare\//);
  assert.equal(typeof welcome.session, "string");
  assert.equal(welcome.user, null);
  assert.equal(typeof welcome.heartbeat, "number");
  assert.ok(welcome.max_message_bytes > 0);
  assert.deepEqual(welcome.subscriptions, []);
});

test("without a subprotocol the same is spoken, and none is echoed", async () => {
  const client = await Client.open({ protocol: null });
  assert.equal(client.socket.protocol, "");
  assert.equal((await client.type("welcome")).protocol, "fanfare.v1.json");
});

test("only unknown subprotocols: 400, and the answer lists the known ones", async () => {
  const socket = new WebSocket(`${broker.base.replace("http", "ws")}/ws`, ["no.such.protocol"]);
  socket.on("error", () => {});
  const [, response] = await once(socket, "unexpected-response");
  assert.equal(response.statusCode, 400);
  let body = "";
  for await (const chunk of response) body += chunk;
  assert.match(body, /fanfare\.v1\.json/);
});

test("an ordinary request is told to upgrade", async () => {
  assert.equal((await fetch(`${broker.base}/ws`)).status, 426);
});

test("subscribe, publish, message", async () => {
  const topic = newTopic();
  const [one, two] = [await Client.open(), await Client.open()];
  for (const client of [one, two]) {
    const ok = await client.ask({ type: "subscribe", topic });
    assert.equal(ok.type, "ok");
    assert.equal(ok.topic, topic);
    assert.equal(typeof ok.epoch, "string");
    assert.equal(ok.offset, 0);
  }
  const data = { text: "hello", list: [1, 2.5, null], "ключ": "значение" };
  const stored = await one.ask({ type: "publish", topic, data });
  assert.equal(stored.type, "ok");
  assert.equal(stored.offset, 1);
  for (const client of [one, two]) {
    const message = await client.type("message");
    assert.deepEqual(message.data, data);
    assert.equal(message.topic, topic);
    assert.equal(message.epoch, stored.epoch);
    assert.equal(message.offset, 1);
    assert.ok(Math.abs(message.time - Date.now()) < 60_000);
    assert.equal(message.encoding, undefined);
  }
});

test("echo: false spares the sender its own messages", async () => {
  const topic = newTopic();
  const [one, two] = [await Client.open(), await Client.open()];
  await one.ask({ type: "subscribe", topic, echo: false });
  await two.ask({ type: "subscribe", topic });
  await one.ask({ type: "publish", topic, data: "mine" });
  await two.ask({ type: "publish", topic, data: "yours" });
  assert.equal((await one.type("message")).data, "yours");
  assert.equal((await two.type("message")).data, "mine");
});

test("text and bytes keep their kind", async () => {
  const topic = newTopic();
  const client = await Client.open();
  await client.ask({ type: "subscribe", topic });
  await client.ask({ type: "publish", topic, data: "plain", encoding: "text" });
  await client.ask({ type: "publish", topic, data: "AQL/", encoding: "base64" });
  await broker.publish(topic, Buffer.from([9, 8]), "application/octet-stream");
  const heard = [await client.type("message"), await client.type("message"), await client.type("message")];
  assert.deepEqual(
    heard.map(({ data, encoding }) => [data, encoding]),
    [["plain", "text"], ["AQL/", "base64"], ["CQg=", "base64"]],
  );
});

test("ok, then the replay, then what is live", async () => {
  const topic = newTopic();
  for (let i = 1; i <= 5; i++) await broker.publish(topic, `${i}`);
  const client = await Client.open();
  await client.type("welcome");
  client.send({ type: "subscribe", topic, last: 3, id: 7 });
  await until("the replay", () => client.frames.length === 4);
  await broker.publish(topic, "6");
  await until("the live one", () => client.frames.length === 5);
  assert.deepEqual(client.frames.map(({ type }) => type), ["ok", "message", "message", "message", "message"]);
  assert.equal(client.frames[0].replayed, 3);
  assert.deepEqual(client.frames.slice(1).map(({ data, replay }) => [data, replay === true]), [
    ["3", true],
    ["4", true],
    ["5", true],
    ["6", false],
  ]);
});

test("since recovers exactly, or says that it does not", async () => {
  const topic = newTopic();
  const first = await broker.publish(topic, "1");
  await broker.publish(topic, "2");
  const since = { epoch: first.epoch, offset: first.offset };

  const known = await Client.open();
  const ok = await known.ask({ type: "subscribe", topic, since });
  assert.equal(ok.recovered, true);
  assert.equal(ok.replayed, 1);
  assert.equal((await known.type("message")).data, "2");

  const strange = await Client.open();
  const not = await strange.ask({ type: "subscribe", topic, since: { ...since, epoch: "another" } });
  assert.equal(not.recovered, false);
  assert.equal(not.replayed, 0);

  // What the page does: one request, and `last` counts where `since` fails.
  const both = await Client.open();
  const reloaded = await both.ask({ type: "subscribe", topic, since: { ...since, epoch: "another" }, last: 30 });
  assert.equal(reloaded.recovered, false);
  assert.equal(reloaded.replayed, 2);
});

test("join and leave are told to the others, and presence lists everyone", async () => {
  const topic = newTopic();
  const [one, two] = [await Client.open(), await Client.open()];
  const first = (await one.type("welcome")).session;
  const second = (await two.type("welcome")).session;
  await one.ask({ type: "subscribe", topic });
  await two.ask({ type: "subscribe", topic });
  const join = await one.type("join");
  assert.deepEqual([join.topic, join.session], [topic, second]);

  const { sessions, count } = await two.ask({ type: "presence", topic });
  assert.equal(count, 2);
  assert.deepEqual(sessions.map(({ session }) => session).sort(), [first, second].sort());

  two.socket.close();
  assert.equal((await one.type("leave")).session, second);
  assert.equal(two.frames.filter(({ type }) => type === "join").length, 0, "nobody is told of itself");
});

test("after the ok of unsubscribe nothing more comes", async () => {
  const topic = newTopic();
  const client = await Client.open();
  await client.ask({ type: "subscribe", topic });
  await broker.publish(topic, "heard");
  await client.type("message");
  await client.ask({ type: "unsubscribe", topic });
  await broker.publish(topic, "not heard");
  await sleep(200);
  assert.equal(client.frames.filter(({ type }) => type === "message").length, 0);
});

test("ping: an ok with an id, a pong without", async () => {
  const client = await Client.open();
  assert.equal((await client.ask({ type: "ping" })).type, "ok");
  client.send({ type: "ping" });
  await client.type("pong");
  client.socket.ping("the same payload");
  assert.equal(String((await once(client.socket, "pong"))[0]), "the same payload");
});

test("what is wrong is said, and the session goes on", async () => {
  const client = await Client.open();
  assert.equal((await client.ask({ type: "publish", topic: "demo/+", data: 1 })).code, "invalid_topic");
  assert.equal((await client.ask({ type: "publish", topic: "$sys/x", data: 1 })).code, "forbidden");
  assert.equal((await client.ask({ type: "no such type" })).code, "bad_request");
  client.socket.send("this is no object");
  assert.equal((await client.type("error")).code, "bad_request");
  assert.equal((await client.ask({ type: "ping" })).type, "ok");
});

test("1008 after ten protocol errors in a row, announced by closing", async () => {
  const client = await Client.open();
  for (let i = 0; i < 10; i++) client.send({ type: "nonsense" });
  const { code } = await client.closed;
  assert.equal(code, 1008);
  const closing = client.frames.find(({ type }) => type === "closing");
  assert.equal(closing.code, 1008);
  assert.equal(closing.reconnect, false);
});

test("1009 for a frame beyond the limit", async () => {
  const client = await Client.open();
  const { max_message_bytes } = await client.type("welcome");
  client.send({ type: "publish", topic: newTopic(), data: "x".repeat(max_message_bytes + 1024) });
  assert.equal((await client.closed).code, 1009);
});

test("who is asked to stop sends everyone away: 1001, when to come back, and no one new in", async () => {
  const leaving = await Broker.start({ FANFARE__SERVER__DRAIN: "2s" });
  try {
    const clients = [];
    for (let i = 0; i < 12; i++) clients.push(await Client.open({ base: leaving.base }));
    const gone = leaving.drain();

    await clients[0].closed;
    const newcomer = new WebSocket(`${leaving.base.replace("http", "ws")}/ws`);
    newcomer.on("error", () => {});
    const [, response] = await once(newcomer, "unexpected-response");
    // Who leaves may cut a connection that it has answered.
    response.on("error", () => {});
    assert.equal(response.statusCode, 503);
    assert.ok(Number(response.headers["retry-after"]) > 0);
    response.destroy();

    for (const { closed, frames } of clients) {
      assert.equal((await closed).code, 1001);
      const { code, reconnect, after_ms } = frames.at(-1);
      assert.deepEqual([frames.at(-1).type, code, reconnect], ["closing", 1001, true]);
      assert.ok(Number.isInteger(after_ms) && after_ms >= 0 && after_ms <= 2000, `${after_ms}`);
    }
    const waits = new Set(clients.map(({ frames }) => frames.at(-1).after_ms));
    assert.ok(waits.size > 6, "they do not all come back at once");
    assert.equal(await gone, 0);
  } finally {
    await leaving.stop();
  }
});

test("1000 is answered with 1000", async () => {
  const client = await Client.open();
  client.socket.close(1000, "bye");
  assert.equal((await client.closed).code, 1000);
});

test("what it compresses is understood", async () => {
  const client = await Client.open();
  assert.equal(client.socket.extensions, "permessage-deflate");
  const topic = `compressed/${++topics}`;
  await client.ask({ type: "subscribe", topic });
  for (const length of [2000, 20_000]) {
    const data = "a text that is long, and long. €".repeat(length / 32);
    const answer = await client.ask({ type: "publish", topic, data });
    assert.equal(answer.type, "ok");
    const message = await client.type("message");
    assert.equal(message.data, data);
  }
  // The client's own count of what it sent: far less than it said.
  assert.ok(client.socket._socket.bytesWritten < 5000, `${client.socket._socket.bytesWritten}`);
});

test("raw: a frame is a payload, both ways", async () => {
  const topic = newTopic();
  const query = `?topic=${encodeURIComponent(topic)}`;
  const [one, two] = [
    await Client.open({ protocol: "fanfare.v1.raw", query }),
    await Client.open({ protocol: "fanfare.v1.raw", query }),
  ];
  one.socket.send("hello");
  one.socket.send(Buffer.from([1, 2]));
  for (const client of [one, two]) {
    await until("both frames", () => client.frames.length === 2);
    assert.deepEqual(client.frames.map(({ data, binary }) => [data.toString("latin1"), binary]), [
      ["hello", false],
      ["\x01\x02", true],
    ]);
  }
});
