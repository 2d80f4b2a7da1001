// The parts of the page that need no browser: what it makes of frames, and when it comes back.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

// The page's modules import one another by relative names, but these two stand alone.
async function load(name) {
  const source = await readFile(new URL(`../../demo/${name}`, import.meta.url));
  return import(`data:text/javascript;base64,${source.toString("base64")}`);
}

const { afterClose, backoff, mayReconnect } = await load("policy.js");
const { Room, cleanName, readMessage, topicOf } = await load("room.js");

const message = (offset, data, more = {}) => ({ type: "message", topic: "demo/a", epoch: "e", offset, time: offset, data, ...more });
const texts = (room) => room.log.map(({ text, body }) => text ?? body.text);

test("the codes that mean: come back", () => {
  for (const code of [1001, 1006, 1011, 1013, 4000, 4008, 4100, 4499]) assert.equal(mayReconnect(code), true, code);
  for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 4500, 4503, 4999]) assert.equal(mayReconnect(code), false, code);
});

test("the announcement of the server knows better than the code", () => {
  const closing = { code: 1001, reason: "drain", reconnect: true, after_ms: 4321 };
  const next = afterClose({ code: 1006, reason: "", closing, attempt: 0 });
  assert.deepEqual([next.reconnect, next.delayMs, next.atLeastMs], [true, 4321, 4321]);
  assert.equal(afterClose({ code: 1006, closing: { ...closing, reconnect: false }, attempt: 0 }).reconnect, false);
});

test("the backoff grows, has jitter, and has an end", () => {
  assert.equal(backoff(0, () => 0), 250);
  assert.equal(backoff(0, () => 1), 500);
  assert.equal(backoff(3, () => 1), 4000);
  assert.equal(backoff(50, () => 1), 30_000);
});

test("a message is taken once for its position, and once for its id", () => {
  const room = new Room("demo/a");
  const said = { name: "Ada", text: "hello", id: "1" };
  assert.equal(room.addMessage(message(1, said)), true);
  assert.equal(room.addMessage(message(1, said)), false, "the same position");
  assert.equal(room.addMessage(message(2, said)), false, "the same message, sent again after a cut");
  assert.equal(room.addMessage(message(3, { ...said, text: "not hello" })), true, "a borrowed id hides nothing");
  assert.deepEqual(texts(room), ["hello", "not hello"]);
  assert.deepEqual(room.position, { epoch: "e", offset: 3 });
});

test("an own message waits in the outbox until it comes back", () => {
  const room = new Room("demo/a");
  room.queue("1", "Ada", "hello");
  room.addMessage(message(1, { name: "Ada", text: "hello", id: "1" }));
  assert.equal(room.outbox.length, 0);
  assert.equal(room.log[0].mine, true);
});

test("a cut in the middle of a replay goes on where it stopped", () => {
  const room = new Room("demo/a");
  room.subscribed({ epoch: "e", offset: 100, replayed: 30 });
  assert.deepEqual(room.position, { epoch: "e", offset: 70 });
  room.addMessage(message(71, "x"));
  assert.deepEqual(room.position, { epoch: "e", offset: 71 });
});

test("joins and leaves that cross the presence answer count", () => {
  const room = new Room("demo/a");
  room.setSession("me");
  room.askingPresence();
  room.moved({ type: "join", session: "late" });
  room.moved({ type: "leave", session: "gone" });
  room.setPresence({ sessions: [{ session: "me" }, { session: "gone" }], count: 2 });
  assert.deepEqual([...room.members.keys()], ["me", "late"]);
});

test("nobody can rename us or speak as us", () => {
  const room = new Room("demo/a");
  room.setSession("me");
  room.addMessage(message(1, { name: "Fool", text: "I am you", session: "me", id: "x" }));
  assert.equal(room.log[0].mine, false);
  assert.match(room.label("me"), /^guest /);
});

test("who joined as a stranger has a name once it is known", () => {
  const room = new Room("demo/a");
  room.moved({ type: "join", session: "s" });
  assert.match(texts(room)[0], /^guest [0-9a-f]{4} joined$/);
  room.addMessage(message(1, { name: "Ada", text: "hello", session: "s", id: "1" }));
  room.addMessage(message(2, { name: "Countess", text: "hello again", session: "s", id: "2" }));
  room.moved({ type: "leave", session: "s" });
  assert.deepEqual(texts(room), ["Ada joined", "hello", "hello again", "Countess left"]);
});

test("our own ghost after a cut is no stranger", () => {
  const room = new Room("demo/a");
  room.setSession("old");
  room.setSession("new");
  room.setPresence({ sessions: [{ session: "old" }, { session: "new" }], count: 2 });
  assert.deepEqual(room.memberList.map(({ session }) => session), ["new"]);
  room.moved({ type: "leave", session: "old" });
  assert.deepEqual(room.log, []);
});

test("the log has an end", () => {
  const room = new Room("demo/a");
  for (let i = 1; i <= 600; i++) room.addMessage(message(i, `${i}`, { encoding: "text" }));
  assert.equal(room.log.length, 500);
  assert.equal(room.log[0].body.text, "101");
});

test("every kind of message is readable", () => {
  const kinds = (frame) => [readMessage(frame).body.kind, readMessage(frame).body.text];
  assert.deepEqual(kinds({ data: { text: "hi", name: 7 } }), ["text", "hi"]);
  assert.deepEqual(kinds({ data: "hi", encoding: "text" }), ["text", "hi"]);
  assert.deepEqual(kinds({ data: "AQI=", encoding: "base64" }), ["bytes", "2 bytes\n01 02"]);
  assert.deepEqual(kinds({ data: "", encoding: "base64" }), ["bytes", "0 bytes"]);
  assert.deepEqual(kinds({ data: null }), ["code", "null"]);
  assert.deepEqual(kinds({ data: "quoted" }), ["code", '"quoted"']);
  assert.deepEqual(kinds({ data: { text: 5 } }), ["code", '{\n  "text": 5\n}']);
});

test("names are one short line", () => {
  assert.equal(cleanName("  a\n\tb "), "a b");
  assert.equal(cleanName("x".repeat(100)).length, 40);
  assert.equal(cleanName(undefined), "");
});

test("a room's name becomes a topic or an error", () => {
  assert.equal(topicOf(null).topic, "demo/lobby");
  assert.equal(topicOf("a/b c").topic, "demo/a/b c");
  for (const bad of ["#", "a/+", "a//b", "/a", "a\u0000", "é".repeat(126)]) assert.ok(topicOf(bad).error, bad);
});
