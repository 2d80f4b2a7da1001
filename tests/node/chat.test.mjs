// The page at `/`, in a real browser, against a real broker.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, afterEach, before, test } from "node:test";
import { promisify } from "node:util";
import { Broker, Proxy, launchBrowser, sleep, until } from "./support.mjs";

let broker;
let proxy;
let browser;
let windows = [];
let rooms = 0;

before(async () => {
  broker = await Broker.start({ FANFARE__SERVER__DRAIN: "4s" });
  proxy = await Proxy.start(broker.port);
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
  await broker?.stop();
});

afterEach(async () => {
  await Promise.all(windows.map((window) => window.close()));
  windows = [];
  proxy.mend();
});

/** One browser window in a room: what a person sees and does there. */
class Window {
  static async open(room, { name, base = broker.base, viewport, prepare } = {}) {
    const context = await browser.newContext({ viewport: viewport ?? { width: 1280, height: 800 } });
    const window = new Window();
    window.context = context;
    window.page = await context.newPage();
    window.faults = [];
    window.page.on("pageerror", (error) => window.faults.push(error.message));
    window.page.on("dialog", (dialog) => {
      window.faults.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    window.page.on("console", (message) => {
      // A socket that finds no broker is logged by the browser itself; nothing else may be.
      const lostSocket = /^WebSocket connection to 'ws:/.test(message.text());
      if (["error", "warning"].includes(message.type()) && !lostSocket) window.faults.push(message.text());
    });
    window.hosts = new Set();
    window.page.on("request", (request) => window.hosts.add(new URL(request.url()).host));
    windows.push(window);
    await prepare?.(window.page);
    await window.page.goto(`${base}/?room=${encodeURIComponent(room)}`);
    await window.state("live");
    if (name) await window.at("name").fill(name);
    return window;
  }

  at(id) {
    return this.page.getByTestId(id);
  }

  async state(wanted) {
    await this.page.locator(`[data-testid=state][data-state=${wanted}]`).waitFor({ timeout: 15_000 });
  }

  /** The frames of a type in the page's corner, with the time of day at which each went over the wire. */
  async frames(type) {
    const all = await this.at("frames").locator(".frame").evaluateAll((lines) =>
      lines.map((line) => [line.querySelector("time").textContent, line.querySelector("code").textContent]),
    );
    return all
      .filter(([, text]) => text.startsWith("{"))
      .map(([clock, text]) => ({ at: Date.parse(`1970-01-01T${clock}Z`), ...JSON.parse(text) }))
      .filter((frame) => frame.type === type);
  }

  async say(text) {
    await this.at("message").fill(text);
    await this.at("message").press("Enter");
  }

  /** All messages in the order in which they stand. */
  entries() {
    return this.page.evaluate(() =>
      [...document.querySelectorAll("[data-testid=entry]")].map((entry) => ({
        text: entry.querySelector(".body").textContent,
        name: entry.querySelector(".name")?.textContent,
        kind: entry.querySelector(".body").classList[1],
        offset: Number(entry.dataset.offset),
        status: entry.dataset.status,
      })),
    );
  }

  async texts() {
    return (await this.entries()).map(({ text }) => text);
  }

  async hears(text) {
    return until(`"${text}" to be seen`, async () =>
      (await this.entries()).find((entry) => entry.text === text && entry.status === "shown"),
    );
  }

  async lines(id) {
    return this.at(id).allTextContents();
  }

  async close() {
    await this.context.close();
    assert.deepEqual(this.faults, []);
  }
}

const newRoom = () => `room-${++rooms}-${process.pid}`;

test("two windows chat, and each message stands once", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { name: "Ada" });
  const grace = await Window.open(room, { name: "Grace" });
  await ada.say("hello");
  await grace.hears("hello");
  await grace.say("hello to you");
  await ada.hears("hello to you");
  await ada.hears("hello");

  assert.deepEqual(await ada.texts(), ["hello", "hello to you"]);
  assert.deepEqual(await grace.texts(), ["hello", "hello to you"]);
  assert.deepEqual((await grace.entries()).map(({ name }) => name), ["Ada", "Grace"]);
  assert.deepEqual([...ada.hosts], [new URL(broker.base).host], "nothing comes from another host");
});

test("the room is the address's, the name is kept, and the line for a shell works as it stands", async () => {
  const room = `kept ${newRoom()}/it's`;
  const ada = await Window.open(room, { name: "Ada" });
  assert.ok((await ada.page.title()).startsWith(`demo/${room}`));
  await ada.page.reload();
  await ada.state("live");
  assert.equal(await ada.at("name").inputValue(), "Ada");

  const line = await ada.page.locator("#side-curl code").textContent();
  await promisify(execFile)("sh", ["-c", line]);
  const said = await ada.hears("hello");
  assert.equal(said.name, "backend");
});

test("who is here, who joined and who left", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { name: "Ada" });
  await until("one member", async () => (await ada.at("member-count").textContent()) === "1");
  const grace = await Window.open(room, { name: "Grace" });
  await until("two members", async () => (await ada.at("member-count").textContent()) === "2");
  await until("two members at the newcomer's", async () => (await grace.at("member").count()) === 2);
  assert.match((await ada.lines("system-entry"))[0], /^guest [0-9a-f]{4} joined$/);

  await grace.say("it is me");
  await ada.hears("it is me");
  assert.match((await grace.at("member").allTextContents())[0], /^.Grace.*you$/, "one's own name stands there at once");
  await until("the name to be learnt", async () => /Grace/.test((await ada.at("members").textContent()) ?? ""));
  await grace.page.close();
  await until("the leave to be told", async () => (await ada.lines("system-entry")).includes("Grace left"));
  assert.deepEqual(await ada.lines("system-entry"), ["Grace joined", "Grace left"]);
  assert.equal(await ada.at("member-count").textContent(), "1");
});

test("two windows that were asked nothing can chat, and tell each other apart", async () => {
  const room = newRoom();
  const one = await Window.open(room);
  const other = await Window.open(room);
  await one.say("hello");
  await other.say("hello to you");
  for (const window of [one, other]) {
    await window.hears("hello");
    await window.hears("hello to you");
    const [first, second] = (await window.entries()).map(({ name }) => name);
    assert.match(first, /^guest [0-9a-f]{4}$/);
    assert.notEqual(first, second);
    const listed = (await window.at("members").locator(".name").allTextContents()).sort();
    assert.deepEqual(listed, [first, second].sort(), "by the same names as in the list of who is here");
  }
});

test("who is here stays right across a cut: nobody stands there twice, nobody who left stays", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { name: "Ada", base: proxy.base });
  const grace = await Window.open(room, { name: "Grace" });
  const alan = await Window.open(room, { name: "Alan" });
  for (const window of [ada, grace, alan]) {
    await window.say(`it is ${await window.at("name").inputValue()}`);
  }
  const here = async (window) => (await window.at("members").locator(".name").allTextContents()).sort().join();
  for (const window of [ada, grace, alan]) {
    await until("all three", async () => (await here(window)) === "Ada,Alan,Grace");
  }

  proxy.cut();
  await ada.state("reconnecting");
  await until("Ada to be missed", async () => (await here(grace)) === "Alan,Grace");
  assert.equal(await grace.at("member-count").textContent(), "2");
  await alan.page.close();
  await until("Alan to be missed", async () => (await here(grace)) === "Grace");
  proxy.mend();

  await ada.state("live");
  // Of Alan's leaving she was told nothing: the list was asked for anew.
  await until("Ada to see Grace and herself", async () => (await here(ada)) === "Ada,Grace");
  assert.equal(await ada.at("member-count").textContent(), "2");
  await until("Ada to be back", async () => (await grace.at("member-count").textContent()) === "2");
  await ada.say("it is me again");
  await until("her name to be known", async () => (await here(grace)) === "Ada,Grace");
  assert.deepEqual((await grace.lines("system-entry")).slice(-3), ["Ada left", "Alan left", "Ada joined"]);
});

test("the last 30 stand there on arrival", async () => {
  const room = newRoom();
  for (let i = 1; i <= 35; i++) await broker.publish(`demo/${room}`, `number ${i}`);
  const ada = await Window.open(room);
  await ada.hears("number 35");
  assert.deepEqual(await ada.texts(), Array.from({ length: 30 }, (_, i) => `number ${i + 6}`));
});

test("who reads further up is not pulled down, but told", async () => {
  const room = newRoom();
  for (let i = 1; i <= 30; i++) await broker.publish(`demo/${room}`, `number ${i}`);
  const ada = await Window.open(room);
  await ada.hears("number 30");
  const visible = (text) => ada.at("entry").getByText(text, { exact: true }).evaluate((element) => {
    const { top, bottom } = element.getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  });
  await until("the newest to be in sight", () => visible("number 30"));
  await ada.at("entry").first().hover();
  await ada.page.mouse.wheel(0, -5000);
  await until("the oldest to be in sight", () => visible("number 1"));
  await broker.publish(`demo/${room}`, "news");
  await ada.page.getByRole("button", { name: "1 new message" }).click();
  await until("the news to be in sight", () => visible("news"));
  await ada.page.getByRole("button", { name: "new message" }).waitFor({ state: "hidden" });
});

test("what a backend publishes is shown by its kind", async () => {
  const room = newRoom();
  const ada = await Window.open(room);
  await broker.publish(`demo/${room}`, "hello", "text/plain");
  await broker.publish(`demo/${room}`, '{"celsius":21.5}', "application/json");
  await broker.publish(`demo/${room}`, Buffer.from([1, 2, 255]), "application/octet-stream");
  await until("three messages", async () => (await ada.entries()).length === 3);
  assert.deepEqual(
    (await ada.entries()).map(({ kind, text }) => [kind, text]),
    [
      ["text", "hello"],
      ["code", '{\n  "celsius": 21.5\n}'],
      ["bytes", "3 bytes\n01 02 ff"],
    ],
  );
  assert.equal((await ada.entries())[0].name, "backend");
});

test("markup in a name or a text stays text", async () => {
  const room = newRoom();
  const name = "<img src=x onerror=alert(1)>";
  const text = "<script>alert(2)</script><b>bold</b> &amp; <a href=javascript:alert(3)>x</a>";
  const ada = await Window.open(room, { name });
  const grace = await Window.open(room);
  await ada.say(text);
  const seen = await grace.hears(text);
  assert.equal(seen.name, name);
  await until("the name in the list", async () => (await grace.at("members").textContent()).includes(name));
  for (const { page } of [ada, grace]) {
    assert.equal(await page.locator("[data-testid=log] :is(img, script, b, a), [data-testid=members] img").count(), 0);
  }
  await sleep(100); // A dialog would come now, and fail the window's closing.
});

test("the policy that forbids foreign and inline code is set", async () => {
  const response = await fetch(`${broker.base}/`);
  const policy = response.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'self'/);
  assert.doesNotMatch(policy, /unsafe/);
});

test("Shift+Enter starts a new line, Enter sends", async () => {
  const ada = await Window.open(newRoom());
  await ada.at("message").fill("one");
  await ada.at("message").press("Shift+Enter");
  await ada.at("message").pressSequentially("two");
  await ada.at("message").press("Enter");
  await ada.hears("one\ntwo");
});

test("a cut is recovered from without a gap or a double", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { name: "Ada", base: proxy.base });
  await ada.say("before");
  await ada.hears("before");

  proxy.cut();
  await ada.state("reconnecting");
  for (let i = 1; i <= 5; i++) await broker.publish(`demo/${room}`, `missed ${i}`);
  await ada.say("written while away");
  await until("it to wait", async () => (await ada.entries()).at(-1).status === "waiting");
  proxy.mend();

  await ada.state("live");
  await ada.hears("written while away");
  const entries = await ada.entries();
  assert.deepEqual(
    entries.map(({ text }) => text),
    ["before", "missed 1", "missed 2", "missed 3", "missed 4", "missed 5", "written while away"],
  );
  assert.deepEqual(entries.map(({ offset }) => offset), [1, 2, 3, 4, 5, 6, 7]);
  const recovered = (await ada.frames("ok")).filter((frame) => "recovered" in frame);
  assert.deepEqual(recovered.map(({ recovered, replayed, offset }) => [recovered, replayed, offset]), [[true, 5, 6]]);
  assert.deepEqual(await ada.lines("note"), [], "an exact recovery needs no excuse");
});

test("a message whose answer was lost is neither lost nor doubled", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { name: "Ada", base: proxy.base });
  const grace = await Window.open(room);
  await ada.say("first");
  await grace.hears("first");

  proxy.swallowAnswers();
  await ada.say("did you get this?");
  await grace.hears("did you get this?");
  await until("it to be pending", async () => (await ada.entries()).at(-1).status === "sending");
  proxy.cut();
  await ada.state("reconnecting");
  proxy.mend();

  await ada.state("live");
  await ada.hears("did you get this?");
  await ada.say("third");
  await grace.hears("third");
  await ada.hears("third");
  for (const window of [ada, grace]) {
    assert.deepEqual(await window.texts(), ["first", "did you get this?", "third"]);
    assert.deepEqual((await window.entries()).map(({ offset }) => offset), [1, 2, 3], "it was published once");
  }
});

test("a connection that died in silence is found out and replaced", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { base: proxy.base, prepare: (page) => page.clock.install() });
  proxy.swallowAnswers();
  await broker.publish(`demo/${room}`, "into the silence");
  // What a browser says when the network changed: the page asks, gets no answer within 10 s, and comes back.
  await ada.page.evaluate(() => dispatchEvent(new Event("online")));
  await ada.page.clock.fastForward(8_000);
  await ada.state("live");
  await ada.page.clock.fastForward(3_000);
  await ada.hears("into the silence");
  await ada.state("live");
  assert.deepEqual(await ada.texts(), ["into the silence"]);
  assert.equal((await ada.frames("ok")).filter(({ recovered }) => recovered === true).length, 1);
});

test("after more was missed than the room keeps, the page says so", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { base: proxy.base });
  await broker.publish(`demo/${room}`, "before");
  await ada.hears("before");
  proxy.cut();
  await ada.state("reconnecting");
  for (let i = 1; i <= 40; i++) await broker.publish(`demo/${room}`, `missed ${i}`);
  proxy.mend();
  await ada.state("live");
  await ada.hears("missed 40");
  assert.deepEqual(await ada.texts(), ["before", ...Array.from({ length: 30 }, (_, i) => `missed ${i + 11}`)]);
  assert.match((await ada.lines("note"))[0], /missed/);
});

test("both windows outlive a restart of the broker, and say that the history began anew", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { name: "Ada" });
  const grace = await Window.open(room, { name: "Grace" });
  await ada.say("before the restart");
  await grace.hears("before the restart");
  await ada.hears("before the restart");

  await broker.kill();
  await Promise.all([ada.state("reconnecting"), grace.state("reconnecting")]);
  await ada.say("written meanwhile");
  await broker.up();
  await Promise.all([ada.state("live"), grace.state("live")]);

  await ada.hears("written meanwhile");
  await grace.say("after the restart");
  await ada.hears("after the restart");
  for (const window of [ada, grace]) {
    assert.match((await window.lines("note"))[0], /begun anew/);
    assert.equal((await window.frames("ok")).filter(({ recovered }) => recovered === false).length, 1);
    await until("both to be listed", async () => (await window.at("member-count").textContent()) === "2");
    const texts = await window.texts();
    assert.equal(texts.filter((text) => text === "before the restart").length, 1);
    assert.ok(texts.includes("after the restart"));
  }
});

test("a broker that is stopped in an orderly way sends its windows away and finds them again", async () => {
  const room = newRoom();
  const ada = await Window.open(room, { name: "Ada" });
  const grace = await Window.open(room, { name: "Grace" });
  await ada.say("before");
  await grace.hears("before");

  const gone = broker.drain();
  await Promise.all([ada.state("reconnecting"), grace.state("reconnecting")]);
  assert.equal(await gone, 0);
  await broker.up();
  await Promise.all([ada.state("live"), grace.state("live")]);

  for (const window of [ada, grace]) {
    const [closing] = await window.frames("closing");
    assert.deepEqual([closing.code, closing.reconnect], [1001, true]);
    const welcome = (await window.frames("welcome")).at(-1);
    const waited = (welcome.at - closing.at + 86_400_000) % 86_400_000;
    assert.ok(waited >= closing.after_ms, `came back after ${waited} ms, though asked to wait ${closing.after_ms}`);
  }
  await grace.say("after");
  await ada.hears("after");
});

test("a session that is ended for good stays away until it is asked back", async () => {
  const ada = await Window.open(newRoom(), { base: proxy.base });
  proxy.closeSockets(4500, "the room is closing");
  await ada.state("closed");
  assert.match(await ada.at("state").textContent(), /the room is closing/);
  await ada.say("to nobody");
  await until("it to fail", async () => (await ada.entries()).at(-1)?.status === "failed");
  await sleep(1500);
  await ada.state("closed");
  await ada.at("state").getByRole("button").click();
  await ada.state("live");
  await ada.at("retry").click();
  await ada.hears("to nobody");
});

test("the corner with the raw frames shows what went over the wire", async () => {
  const ada = await Window.open(newRoom());
  await ada.say("look");
  await ada.hears("look");
  const frames = await ada.at("frames").textContent();
  for (const part of ['"type":"welcome"', '"type":"subscribe"', '"type":"publish"', '"type":"message"']) {
    assert.ok(frames.includes(part), part);
  }
});

test("on a phone the list of who is here is a drawer", async () => {
  const ada = await Window.open(newRoom(), { viewport: { width: 390, height: 844 } });
  await ada.at("members").waitFor({ state: "hidden" });
  await ada.page.getByRole("button", { name: /here/ }).click();
  await ada.at("members").waitFor({ state: "visible" });
  await ada.page.keyboard.press("Escape");
  await ada.at("members").waitFor({ state: "hidden" });
  const wide = await ada.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false, "nothing sticks out sideways");
});

test("a room's name that is no topic is refused in words", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${broker.base}/?room=${encodeURIComponent("a/#")}`);
  await page.locator("[data-testid=state][data-state=closed]").waitFor();
  await page.getByRole("link", { name: "Go to the lobby" }).waitFor();
  await context.close();
});
