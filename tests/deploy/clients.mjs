// Clients that count what they get: https://github.com/websockets/ws and node's own HTTP.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { decode, encode } from "@msgpack/msgpack";
import WebSocket from "ws";
import { until } from "../node/support.mjs";

/** How frames are written and read by those protocols that have frames. */
const ENCODINGS = new Map([
  ["fanfare.v1.json", { write: JSON.stringify, read: JSON.parse }],
  ["fanfare.v1.msgpack", { write: encode, read: decode }],
]);

/** A WebSocket session. */
export class Session {
  /** Messages that came. */
  received = 0;
  /** Of each topic the last message that came. */
  last = new Map();
  #id = 0;
  #asked = new Map();
  #welcome;
  #write;

  static async open(base, { protocol = "fanfare.v1.json", path = "/ws", ...options } = {}) {
    const session = new Session();
    session.socket = new WebSocket(`${base.replace("http", "ws")}${path}`, protocol ? [protocol] : [], options);
    session.closed = new Promise((resolve) => session.socket.on("close", (code) => resolve(code)));
    const encoding = ENCODINGS.get(protocol);
    session.#write = encoding?.write;
    session.socket.on("message", (data) => (encoding ? session.#take(encoding.read(data)) : session.received++));
    const welcomed = encoding && new Promise((resolve) => (session.#welcome = resolve));
    await once(session.socket, "open");
    session.socket.on("error", () => {});
    await welcomed;
    return session;
  }

  #take(frame) {
    if (frame.type === "message") {
      this.received++;
      this.last.set(frame.topic, { epoch: frame.epoch, offset: frame.offset });
    } else if (frame.type === "welcome") {
      this.#welcome();
    } else if (frame.id !== undefined) {
      this.#asked.get(frame.id)?.(frame);
      this.#asked.delete(frame.id);
    }
  }

  /** Sends a frame and gives its answer, whether it is an error or not. */
  ask(frame) {
    const id = ++this.#id;
    const answer = new Promise((resolve) => this.#asked.set(id, resolve));
    this.socket.send(this.#write({ ...frame, id }));
    return answer;
  }

  /** Sends a frame whose answer must be `ok`. */
  async do(frame) {
    const answer = await this.ask(frame);
    assert.equal(answer.type, "ok", JSON.stringify(answer));
    return answer;
  }

  async close(code = 1000) {
    this.socket.close(code);
    await this.closed;
  }

  async vanish() {
    this.socket.terminate();
    await this.closed;
  }
}

/** A stream of server-sent events. */
export class EventStream {
  /** Messages that came. */
  received = 0;

  static async open(base, query) {
    const stream = new EventStream();
    stream.request = http.get(`${base}/sse?${query}`);
    stream.request.on("error", () => {});
    const [response] = await once(stream.request, "response");
    assert.equal(response.statusCode, 200);
    stream.closed = new Promise((resolve) => response.on("close", resolve));
    response.on("error", () => {});
    let rest = "";
    response.setEncoding("utf8").on("data", (chunk) => {
      const events = (rest + chunk).split("\n\n");
      rest = events.pop();
      stream.received += events.filter((event) => /^event: ?message$/m.test(event)).length;
    });
    return stream;
  }

  async close() {
    this.request.destroy();
    await this.closed;
  }
}

/** A request of the HTTP API; gives its status and its body, read as JSON where it is. */
export async function request(base, method, path, { body, key, headers } = {}) {
  headers = {
    ...(key && { authorization: `Bearer ${key}` }),
    ...(body && { "content-type": "application/json" }),
    ...headers,
  };
  const response = await fetch(`${base}${path}`, { method, headers, body });
  const text = await response.text();
  return { status: response.status, body: text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : text };
}

/** Waits until each client got as many messages as is said. */
export async function received(expected) {
  await until("every message to arrive", () => {
    for (const [client, count] of expected) {
      assert.ok(client.received <= count, `${client.received} of ${count}`);
      if (client.received < count) return false;
    }
    return true;
  });
}
