// fanfare.v1.msgpack as a stock library reads and writes it: https://github.com/msgpack/msgpack-javascript over
// https://github.com/websockets/ws, and the golden vectors of tests/vectors.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, afterEach, before, test } from "node:test";
import { decode, encode } from "@msgpack/msgpack";
import WebSocket from "ws";
import { Broker, until } from "./support.mjs";

const vectors = (name) =>
  JSON.parse(readFileSync(path.resolve(import.meta.dirname, `../vectors/${name}.json`), "utf8"));
const fromHex = (hex) => Buffer.from(hex, "hex");
const toHex = (bytes) => Buffer.from(bytes).toString("hex");

/** What a JSON client has of the same frame: base64 for bytes, and where they are all of the data, told so. */
function asJson(value) {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map(asJson);
  if (value === null || typeof value !== "object") return value;
  const fields = Object.fromEntries(Object.entries(value).map(([name, field]) => [name, asJson(field)]));
  if (value.type && value.data instanceof Uint8Array) fields.encoding = "base64";
  return fields;
}

let broker;
let clients = [];
let topics = 0;
const newTopic = () => `demo/msgpack-${++topics}-${process.pid}`;

before(async () => {
  broker = await Broker.start({ FANFARE__LIMITS__PROTOCOL_ERRORS: "1000" });
});
after(() => broker?.stop());
afterEach(() => {
  for (const { socket } of clients) socket.terminate();
  clients = [];
});

/** Keeps what it hears, decoded; everything else is the stock client. */
class Client {
  frames = [];

  static async open(protocol = "fanfare.v1.msgpack") {
    const client = new Client();
    const packs = protocol === "fanfare.v1.msgpack";
    client.pack = packs ? encode : JSON.stringify;
    client.socket = new WebSocket(`${broker.base.replace("http", "ws")}/ws`, [protocol]);
    clients.push(client);
    client.socket.on("message", (data, binary) => {
      assert.equal(binary, packs, "MessagePack comes in binary frames, JSON in text");
      client.frames.push(packs ? decode(data) : JSON.parse(data));
    });
    client.closed = once(client.socket, "close").then(([code]) => code);
    await once(client.socket, "open");
    assert.equal(client.socket.protocol, protocol);
    assert.equal((await client.type("welcome")).protocol, protocol);
    return client;
  }

  send(frame) {
    this.socket.send(this.pack(frame));
  }

  async take(what, fits) {
    return until(`${what}; heard ${JSON.stringify(this.frames)}`, () => {
      const at = this.frames.findIndex(fits);
      return at >= 0 && this.frames.splice(at, 1)[0];
    });
  }

  type(type) {
    return this.take(`a ${type} frame`, (frame) => frame.type === type);
  }

  #id = 1000;
  async ask(frame) {
    const id = ++this.#id;
    this.send({ ...frame, id });
    return this.take(`the answer to ${frame.type}`, (answer) => answer.id === id);
  }
}

for (const side of ["client", "server"]) {
  test(`the vectors of the ${side} are what the stock library reads and writes`, () => {
    const all = vectors(side);
    assert.ok(all.length > 20);
    for (const { name, json, msgpack } of all) {
      const frame = decode(fromHex(msgpack));
      assert.deepEqual(asJson(frame), json, name);
      assert.equal(toHex(encode(frame)), msgpack, name);
    }
  });
}

test("a frame of either encoding gets the same answer", async () => {
  const [packing, plain] = [await Client.open(), await Client.open("fanfare.v1.json")];
  // Which session asks, and when, is all that may differ.
  const told = ({ time, sessions, epoch, offset, messages, ...rest }) => rest;
  for (const { name, json, msgpack } of vectors("client")) {
    // Topics of the vectors have no rule in this broker: what asks for history or presence is refused, alike.
    const id = json.id ?? 77;
    packing.socket.send(json.id === undefined ? encode({ ...decode(fromHex(msgpack)), id }) : fromHex(msgpack));
    plain.send({ ...json, id });
    const answers = [];
    for (const client of [packing, plain]) {
      answers.push(told(await client.take(`the answer to ${name}`, (answer) => answer.id === id)));
    }
    assert.deepEqual(answers[0], answers[1], name);
    if (json.type === "auth") {
      // Nobody knows this token, which ends both.
      assert.deepEqual([await packing.closed, await plain.closed], [4501, 4501]);
      clients = [];
      for (const client of [packing, plain]) Object.assign(client, await Client.open(client.socket.protocol));
    }
  }
});

test("bytes stay bytes, alone and inside data, live and in the history", async () => {
  const topic = newTopic();
  const [packing, other, plain] = [await Client.open(), await Client.open(), await Client.open("fanfare.v1.json")];
  for (const client of [packing, other, plain]) await client.ask({ type: "subscribe", topic });
  const alone = Uint8Array.of(0, 255, 128);
  const inside = { name: "x.png", parts: [alone, new Uint8Array(0), "AP+A"], n: [1, -1, 0.5, 2 ** 53 - 1] };
  await packing.ask({ type: "publish", topic, data: alone });
  await packing.ask({ type: "publish", topic, data: inside });
  for (const client of [packing, other]) {
    const [first, second] = [await client.type("message"), await client.type("message")];
    assert.deepEqual([Uint8Array.from(first.data), first.encoding], [alone, undefined]);
    assert.deepEqual(asJson(second.data), asJson(inside));
    assert.ok(second.data.parts[0] instanceof Uint8Array && typeof second.data.parts[2] === "string");
  }
  const [first, second] = [await plain.type("message"), await plain.type("message")];
  assert.deepEqual([first.data, first.encoding], ["AP+A", "base64"]);
  assert.deepEqual([second.data, second.encoding], [asJson(inside), undefined]);

  const { messages } = await other.ask({ type: "history", topic });
  assert.ok(messages[0].data instanceof Uint8Array && messages[1].data.parts[0] instanceof Uint8Array);
  const late = await Client.open();
  await late.ask({ type: "subscribe", topic, last: 1 });
  const replayed = await late.type("message");
  assert.deepEqual([asJson(replayed.data), replayed.replay], [asJson(inside), true]);
  assert.ok(replayed.data.parts[0] instanceof Uint8Array);
});

test("what the protocol does not take is refused, and the session goes on", async () => {
  const client = await Client.open();
  for (const { name, msgpack, id, says } of vectors("refused")) {
    client.socket.send(fromHex(msgpack));
    const error = await client.type("error");
    assert.deepEqual([error.code, error.id ?? null], ["bad_request", id], name);
    assert.ok(error.message.includes(says), `${name}: ${error.message}`);
  }
  // What the library makes of a date is an extension type.
  const refused = await client.ask({ type: "publish", topic: newTopic(), data: { at: new Date() } });
  assert.match(refused.message, /^'data' has an extension type in it, as libraries make of dates/);
  assert.equal((await client.ask({ type: "ping" })).type, "ok");
});

test("1003 for a text frame, announced by closing", async () => {
  const client = await Client.open();
  client.socket.send('{"type":"ping"}');
  assert.equal(await client.closed, 1003);
  assert.deepEqual([client.frames.at(-1).type, client.frames.at(-1).code], ["closing", 1003]);
});

test("only unknown subprotocols: the answer lists this one too", async () => {
  const socket = new WebSocket(`${broker.base.replace("http", "ws")}/ws`, ["fanfare.v2.msgpack"]);
  socket.on("error", () => {});
  const [, response] = await once(socket, "unexpected-response");
  assert.equal(response.statusCode, 400);
  let body = "";
  for await (const chunk of response) body += chunk;
  assert.match(body, /fanfare\.v1\.json, fanfare\.v1\.msgpack, fanfare\.v1\.raw/);
});
