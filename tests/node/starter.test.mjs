// What `fanfare init` writes, as a newcomer runs it: the broker, the page in a browser, both backends.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { BINARY, freePort, launchBrowser, until } from "./support.mjs";

let home;
let base;
let broker;
let browser;
let port;

before(async () => {
  home = await mkdtemp(path.join(tmpdir(), "fanfare-init-"));
  await promisify(execFile)(BINARY, ["init", "chat"], { cwd: home });
  port = await freePort();
  base = `http://127.0.0.1:${port}`;
  await start();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await stop();
  await rm(home, { recursive: true, force: true });
});

async function start() {
  const options = ["serve", "--config", path.join(home, "chat/fanfare.toml"), "--listen", `127.0.0.1:${port}`];
  broker = spawn(BINARY, options, { cwd: "/", stdio: "ignore" });
  await until("the broker to be ready", async () => (await fetch(`${base}/readyz`)).ok);
}

async function stop() {
  const gone = once(broker, "exit");
  broker.kill("SIGKILL");
  await gone;
}

async function open(options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(error.message));
  page.on("console", (message) => {
    const lostSocket = /^WebSocket connection to 'ws:/.test(message.text());
    if (message.type() === "error" && !lostSocket) page.faults.push(message.text());
  });
  await page.goto(base);
  await live(page);
  return page;
}

const live = (page) => page.locator("#state[data-state=live]").waitFor({ timeout: 15_000 });
const texts = (page) => page.locator("#log .message").evaluateAll((lines) => lines.map((line) => line.lastChild.textContent));

async function say(page, text) {
  await page.locator("#text").fill(text);
  await page.locator("#text").press("Enter");
}

test("two windows chat and are counted; a restart of the broker is told and outlived", async () => {
  const one = await open();
  const other = await open({ viewport: { width: 390, height: 700 } });
  await until("two to be here", async () => (await one.locator("#here").textContent()) === "2");
  await one.locator("#name").fill("Ada");
  await say(one, "<b>hello</b>");
  for (const page of [one, other]) {
    await until("the message", async () => (await texts(page)).at(-1) === "<b>hello</b>");
  }
  assert.match(await other.locator("#log .message").last().textContent(), /Ada/);
  const wide = await other.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false, "nothing sticks out sideways on a phone");

  await stop();
  await one.locator("#state[data-state=away]").waitFor();
  await start();
  await Promise.all([live(one), live(other)]);
  await say(other, "back again");
  await until("the message", async () => (await texts(one)).at(-1) === "back again");
  assert.match(await one.locator("#log .notice").first().textContent(), /missed/);
  await other.close();
  await until("one to be here", async () => (await one.locator("#here").textContent()) === "1");
  assert.deepEqual([...one.faults, ...other.faults], []);
  await one.close();
});

for (const [program, file, name] of [["python3", "publish.py", "Python"], ["node", "publish.mjs", "Node.js"]]) {
  test(`what the backend in ${name} publishes is on the page`, async () => {
    const page = await open();
    const options = { cwd: "/", env: { PATH: process.env.PATH, HOME: process.env.HOME, FANFARE_HTTP: base }, stdio: "ignore" };
    const backend = spawn(program, [path.join(home, "chat/backend", file)], options);
    try {
      await until("its figure", async () => (await page.locator("#load").textContent()).startsWith(`${name} says`));
      await until("its greeting", async () => (await texts(page)).includes("Hello from the backend"));
    } finally {
      backend.kill();
    }
    // The page may watch that topic, but not publish there.
    const refused = await page.evaluate(async () => {
      const answer = await fetch("/v1/topics/live/load/messages", { method: "POST", body: "fake" });
      return answer.status;
    });
    assert.equal(refused, 401);
    assert.deepEqual(page.faults.filter((fault) => !fault.includes("401")), []);
    await page.close();
  });
}

test("what the README of the folder says works as it stands", async () => {
  const text = await readFile(path.join(home, "chat/README.md"), "utf8");
  const lines = text.match(/(?<= {4})(set -a.*|fanfare (pub|sub) .*)/g);
  assert.equal(lines.length, 3);
  const script = path.join(home, "try.sh");
  const [environment, sub, pub] = lines;
  await appendFile(script, `${environment}\n${sub} --count 1 --timeout 10s >out 2>notes &\n`);
  await appendFile(script, `until grep -q 'subscribed to live' notes 2>/dev/null; do sleep 0.05; done\n${pub}\nwait $!\n`);
  const env = {
    PATH: `${path.dirname(BINARY)}:${process.env.PATH}`,
    FANFARE_URL: base,
  };
  await promisify(execFile)("bash", ["-e", script], { cwd: path.join(home, "chat"), env, timeout: 20_000 });
  assert.match(await readFile(path.join(home, "chat/out"), "utf8"), /chat\/lobby Hello from a shell/);
});
