// The EventSource of a real browser and a stock WebSocket client hear the same messages.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, beforeEach, test } from "node:test";
import WebSocket from "ws";
import { Broker, Proxy, launchBrowser, until } from "./support.mjs";

let broker;
let proxy;
let browser;
let page;
let topic;
let topics = 0;

before(async () => {
  broker = await Broker.start();
  proxy = await Proxy.start(broker.port);
  browser = await launchBrowser();
  page = await browser.newPage();
  // Any page of the broker's own origin will do; this one carries the policy that a page of ours has.
  await page.goto(`${proxy.base}/?room=elsewhere`);
});

beforeEach(() => {
  topic = `demo/sse-${++topics}-${process.pid}`;
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
  await broker?.stop();
});

async function openEvents(name) {
  await page.evaluate(async (name) => {
    globalThis.source?.close();
    globalThis.heard = [];
    globalThis.opened = 0;
    const source = new EventSource(`sse?topic=${encodeURIComponent(name)}`);
    globalThis.source = source;
    source.addEventListener("message", (event) => heard.push({ id: event.lastEventId, ...JSON.parse(event.data) }));
    source.addEventListener("gap", () => heard.push({ gap: true }));
    source.addEventListener("open", () => (globalThis.opened += 1));
    await new Promise((resolve) => source.addEventListener("open", resolve, { once: true }));
  }, name);
}

const heard = () => page.evaluate(() => globalThis.heard);

test("both hear the same messages in the same order", async () => {
  const socket = new WebSocket(`${broker.base.replace("http", "ws")}/ws`, ["fanfare.v1.json"]);
  const frames = [];
  socket.on("message", (data) => frames.push(JSON.parse(data)));
  await once(socket, "open");
  const ask = async (frame) => {
    socket.send(JSON.stringify(frame));
    return until("an answer", () => frames.find(({ id }) => id === frame.id));
  };
  await ask({ type: "subscribe", topic, id: 1 });
  await openEvents(topic);

  await ask({ type: "publish", topic, data: { text: "by a socket" }, id: 2 });
  await broker.publish(topic, "by a backend\nin two lines");
  await broker.publish(topic, Buffer.from([0, 255]), "application/octet-stream");

  const messages = () => frames.filter(({ type }) => type === "message");
  await until("three messages by the socket", () => messages().length === 3);
  await until("three events", async () => (await heard()).length === 3);
  const events = await heard();
  assert.deepEqual(events.map(({ id, ...message }) => message), messages());
  for (const event of events) assert.equal(event.id, `${event.epoch}:${event.offset}:${event.time}`);
  assert.deepEqual(events.map(({ data }) => data), [{ text: "by a socket" }, "by a backend\nin two lines", "AP8="]);
  socket.terminate();
});

test("after a cut the browser comes back by itself and misses nothing", async () => {
  await openEvents(topic);
  await broker.publish(topic, "1");
  await until("the first", async () => (await heard()).length === 1);
  proxy.cut();
  for (const text of ["2", "3", "4"]) await broker.publish(topic, text);
  proxy.mend();
  await until("the second opening", () => page.evaluate(() => globalThis.opened === 2), 30_000);
  await broker.publish(topic, "5");
  await until("the last", async () => (await heard()).some(({ data }) => data === "5"));
  assert.deepEqual((await heard()).map(({ data }) => data), ["1", "2", "3", "4", "5"]);
});

test("a stream that a drain ends is told so, and its body is whole", async () => {
  const going = await Broker.start();
  try {
    const response = await fetch(`${going.base}/sse?topic=${topic}`);
    // A body that breaks off makes this fail.
    const whole = response.text();
    assert.equal(await going.drain(), 0);
    const [, data] = /^event: closing\ndata: (.+)$/m.exec(await whole) ?? [];
    const { code, reconnect } = JSON.parse(data ?? "{}");
    assert.deepEqual({ code, reconnect }, { code: 1001, reconnect: true });
  } finally {
    await going.stop();
  }
});
