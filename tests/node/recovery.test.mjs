// The EventSource of a real browser through cuts, black holes and restarts of its network and of the broker: it
// comes back by itself, and what it hears is exact, or it is told what it missed.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { Broker, Proxy, launchBrowser, until } from "./support.mjs";

// A stock EventSource waits for two to three seconds before it comes back.
const BACK = 20_000;

let broker;
let proxy;
let elsewhere;
let browser;
let page;
let topic;
let topics = 0;

before(async () => {
  // A page of another origin than the broker's: all that is tried here crosses origins as well.
  elsewhere = http.createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<p>elsewhere</p>"));
  elsewhere.listen(0, "127.0.0.1");
  await once(elsewhere, "listening");
  broker = await Broker.start({
    FANFARE__AUTH__ALLOWED_ORIGINS: `same-origin,http://127.0.0.1:${elsewhere.address().port}`,
    FANFARE__AUTH__ANONYMOUS: '{ subscribe = ["#"], publish = ["#"] }',
    FANFARE__TOPIC: '[{ filter = "kept/#", history = { messages = 10000 } }]',
    FANFARE__SERVER__DRAIN: "1s",
  });
  proxy = await Proxy.start(broker.port);
  browser = await launchBrowser();
  page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
});

beforeEach(() => {
  topic = `kept/recovery-${++topics}-${process.pid}`;
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
  await broker?.stop();
  elsewhere?.close();
});

/** Opens a stream, and notes all that it says; resolves once it is open. */
async function listen(base, ...names) {
  const query = names.map((name) => `topic=${encodeURIComponent(name)}`).join("&");
  await page.evaluate(async (url) => {
    globalThis.source?.close();
    Object.assign(globalThis, { heard: [], gaps: [], opened: 0, closings: [] });
    const source = new EventSource(url);
    globalThis.source = source;
    source.addEventListener("message", ({ data, lastEventId }) => heard.push({ id: lastEventId, ...JSON.parse(data) }));
    source.addEventListener("gap", ({ data }) => gaps.push(JSON.parse(data)));
    source.addEventListener("closing", ({ data }) => closings.push(JSON.parse(data)));
    source.addEventListener("open", () => (globalThis.opened += 1));
    await new Promise((resolve) => source.addEventListener("open", resolve, { once: true }));
  }, `${base}/sse?${query}`);
}

const seen = (name) => page.evaluate((name) => globalThis[name], name);
const data = async () => (await seen("heard")).map(({ data }) => data);
const state = () => page.evaluate(() => source.readyState);
const number = (n) => JSON.stringify(n);

/** Publishes numbers, one after the other, until it is told to stop. */
function publishing(...names) {
  let going = true;
  let sent = 0;
  const done = (async () => {
    for (; going; sent += 1) await broker.publish(names[sent % names.length], number(sent), "application/json");
  })();
  return {
    sent: () => sent,
    async stop() {
      going = false;
      await done;
      return sent;
    },
  };
}

const upTo = (count) => Array.from({ length: count }, (_, n) => n);

test("through cuts, black holes and a network that restarts it hears each message once and in order", async () => {
  await listen(proxy.base, topic);
  const published = publishing(topic);
  const heardMore = async () => {
    const before = (await seen("heard")).length;
    await until("it hears more", async () => (await seen("heard")).length > before + 20, BACK);
  };
  const isBack = (times) => until("it is back", async () => (await seen("opened")) >= times, BACK);
  await heardMore();

  // A cut, as of a cable; those who try are refused for a while.
  proxy.cut();
  proxy.mend();
  await isBack(2);
  await heardMore();

  // A black hole: the broker goes on sending, and nothing arrives, until the network notices.
  proxy.swallowAnswers();
  const sent = published.sent();
  await until("much is lost on the way", () => published.sent() > sent + 50);
  proxy.cut();
  proxy.mend();
  await isBack(3);
  await heardMore();

  // The client's network goes and comes: nothing listens where it went before.
  await proxy.die();
  await until("it finds nothing there", async () => (await state()) === 0, BACK);
  await proxy.return();
  await isBack(4);
  await heardMore();

  // A cut in the middle of an event.
  await proxy.cutWithin("data:");
  await isBack(5);
  await heardMore();

  const count = await published.stop();
  await until("all is heard", async () => (await seen("heard")).length >= count, BACK);
  assert.deepEqual(await data(), upTo(count));
  assert.deepEqual(await seen("gaps"), []);
});

test("what is published before the first message is heard is not missed either", async () => {
  await listen(proxy.base, topic);
  proxy.end();
  for (const n of [0, 1, 2]) await broker.publish(topic, number(n), "application/json");
  await until("all three", async () => (await seen("heard")).length === 3, BACK);
  assert.deepEqual(await data(), [0, 1, 2]);
  assert.deepEqual(await seen("gaps"), []);
});

test("of several topics and a filter each message is heard at least once, and known again", async () => {
  const names = [`${topic}/a`, `${topic}/b`, `${topic}/in/c`];
  await listen(proxy.base, names[0], names[1], `${topic}/in/#`);
  const published = publishing(...names);
  for (const times of [2, 3]) {
    const before = (await seen("heard")).length;
    await until("it hears more", async () => (await seen("heard")).length > before + 20, BACK);
    proxy.cut();
    proxy.mend();
    await until("it is back", async () => (await seen("opened")) === times, BACK);
  }
  const count = await published.stop();
  const known = async () => {
    const heard = await seen("heard");
    return new Map(heard.map(({ topic, epoch, offset, data }) => [`${topic} ${epoch} ${offset}`, data]));
  };
  await until("all is heard", async () => (await known()).size >= count, BACK);
  assert.deepEqual([...(await known()).values()].sort((a, b) => a - b), upTo(count));
  assert.deepEqual(await seen("gaps"), []);
});

test("across a drain and a new start it comes back, is told the gap, and is exact from there on", async () => {
  await listen(proxy.base, topic);
  await broker.publish(topic, number("before"), "application/json");
  await until("the first", async () => (await seen("heard")).length === 1);
  assert.equal(await broker.drain(), 0);
  await until("it is told", async () => (await seen("closings")).length === 1);
  const [{ code, reconnect }] = await seen("closings");
  assert.deepEqual({ code, reconnect }, { code: 1001, reconnect: true });
  await broker.up();
  for (const n of [0, 1]) await broker.publish(topic, number(n), "application/json");
  await until("it is back", async () => (await seen("opened")) === 2, BACK);
  await broker.publish(topic, number(2), "application/json");
  await until("the last", async () => (await data()).includes(2));
  const [gap] = await seen("gaps");
  assert.equal(gap.topic, topic);
  // What the gap names and what was heard behind it is all there is.
  const offsets = (await seen("heard")).slice(1).map(({ offset }) => offset);
  assert.equal(gap.count + offsets.length, 3);
  assert.deepEqual(offsets, [1, 2, 3].slice(gap.count));

  // The same epoch again: a cut is recovered from as ever.
  proxy.cut();
  await broker.publish(topic, number(3), "application/json");
  proxy.mend();
  await until("what was missed", async () => (await data()).includes(3), BACK);
  assert.equal((await seen("gaps")).length, 1);
});

test("a live topic tells a gap whenever it comes back", async () => {
  const live = `live/${topic}`;
  await listen(proxy.base, live);
  proxy.cut();
  await broker.publish(live, "nobody hears this");
  proxy.mend();
  await until("it is back", async () => (await seen("opened")) === 2, BACK);
  await broker.publish(live, "heard");
  await until("the next", async () => (await seen("heard")).length === 1);
  assert.deepEqual(await data(), ["heard"]);
  assert.deepEqual((await seen("gaps")).map(({ topic, count }) => [topic, count]), [[live, 0]]);
});

test("who is ended for good comes back once, and is stopped", async () => {
  await listen(proxy.base, topic);
  const { sessions } = await (await fetch(`${broker.base}/v1/sessions?topic=${topic}`)).json();
  const [{ session }] = sessions;
  assert.ok((await fetch(`${broker.base}/v1/sessions/${session}?code=4500`, { method: "DELETE" })).ok);
  await until("it has given up", async () => (await state()) === 2, BACK);
  assert.deepEqual((await seen("closings")).map(({ code }) => code), [4500]);
  assert.equal(await seen("opened"), 1);
});

test("a page of an origin that is not allowed hears nothing", async () => {
  const stranger = http.createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<p>?</p>"));
  stranger.listen(0, "127.0.0.1");
  await once(stranger, "listening");
  const other = await browser.newPage();
  try {
    await other.goto(`http://127.0.0.1:${stranger.address().port}/`);
    const state = await other.evaluate(async (url) => {
      const source = new EventSource(url);
      await new Promise((resolve) => source.addEventListener("error", resolve, { once: true }));
      return source.readyState;
    }, `${proxy.base}/sse?topic=${topic}`);
    assert.equal(state, 2);
  } finally {
    await other.close();
    stranger.close();
  }
});
