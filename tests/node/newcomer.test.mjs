// What a newcomer does, from the README alone: its files are written as they stand there, in an empty directory, and its
// lines are typed as they stand there. Only the ports are others, since those of the README may be taken.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, afterEach, before, test } from "node:test";
import { promisify } from "node:util";
import { BINARY, freePort, launchBrowser, until } from "./support.mjs";

const README = await readFile(new URL("../../README.md", import.meta.url), "utf8");

let browser;
let ports;
let home;
let running = [];

before(async () => {
  browser = await launchBrowser();
  ports = { 8080: await freePort(), 8000: await freePort() };
});

after(() => browser?.close());

afterEach(async () => {
  await Promise.all(running.splice(0).map(stop));
  await rm(home, { recursive: true, force: true });
});

/** The code blocks below a heading: their language, their text, and the file that the words before them name. */
function blocks(heading) {
  const section = README.split(/^### /m).find((part) => part.startsWith(`${heading}\n`));
  assert.ok(section, `the README has no section "${heading}"`);
  const found = section.split(/^## /m)[0].matchAll(/([^]*?)^```(\w+)\n([^]*?)^```$/gm);
  return [...found].map(([, words, language, text]) => ({
    language,
    text: text.replaceAll(/localhost:(8080|8000)|(?<=http\.server )8000/g, (place) =>
      place.replace(/\d+$/, (port) => ports[port]),
    ),
    file: [...words.matchAll(/`([\w.-]+\.(?:html|py|mjs|toml))`/g)].at(-1)?.[1],
  }));
}

/** An empty directory, with the files of that section. */
async function settle(heading) {
  home = await mkdtemp(path.join(tmpdir(), "newcomer-"));
  const all = blocks(heading);
  for (const { language, text, file } of all) {
    if (language !== "sh" && file) await writeFile(path.join(home, file), text);
  }
  return { all, shell: all.filter(({ language }) => language === "sh").map(({ text }) => text) };
}

const environment = () => ({
  PATH: `${path.dirname(BINARY)}:${process.env.PATH}`,
  HOME: process.env.HOME,
  FANFARE__SERVER__LISTEN: `127.0.0.1:${ports[8080]}`,
  FANFARE_URL: `ws://127.0.0.1:${ports[8080]}/ws`,
});

/** Types something that ends by itself. */
async function type(text) {
  const options = { cwd: home, env: environment(), timeout: 20_000 };
  return (await promisify(execFile)("bash", ["-ec", text], options)).stdout;
}

/** Types something that runs until Ctrl-C. */
function begin(text) {
  const child = spawn("bash", ["-c", text], { cwd: home, env: environment(), detached: true, stdio: ["ignore", "pipe", "inherit"] });
  child.output = "";
  child.stdout.on("data", (chunk) => (child.output += chunk));
  child.gone = once(child, "exit");
  running.push(child);
  return child;
}

/** Ctrl-C, which goes to all that was started by that line; what went to the background is ended after it. */
async function stop(child) {
  for (const signal of ["SIGINT", "SIGKILL"]) {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // It is gone already.
    }
    await child.gone;
  }
}

async function broker(line = "fanfare") {
  begin(line);
  await until("the broker to be ready", async () => (await fetch(at("/readyz"))).ok);
}

const at = (place) => `http://localhost:${ports[8080]}${place}`;

async function shows(page, selector) {
  return page.locator(selector).allTextContents();
}

test("backends in Python and Node.js publish, and a page of ten lines shows just that", async () => {
  const { all, shell } = await settle("From a backend to a browser");
  const page = all.find(({ file }) => file === "index.html").text;
  assert.equal(page.trim().split("\n").length, 10, "the page has ten lines");
  const [start, publish] = shell;
  await broker(start);
  const window = await browser.newPage();
  await window.goto(at("/"));
  const topic = at("/v1/topics/demo/hello");

  const listening = async () => /subscriptions\{kind="filter"\} 1/.test(await (await fetch(at("/metrics"))).text());
  await until("the page to listen", listening);
  const answers = (await type(publish)).trim().split("\n").map((line) => JSON.parse(line));
  await until("both on the page", async () => (await shows(window, "#list li")).length === 2);

  const { messages } = await (await fetch(`${topic}/messages`)).json();
  const kept = messages.map(({ data }) => data);
  assert.deepEqual(kept.map(({ from }) => from), ["Python", "Node.js"]);
  assert.deepEqual((await shows(window, "#list li")).map((line) => JSON.parse(line)), kept);
  assert.deepEqual(answers.map(({ topic, offset, subscribers }) => [topic, offset, subscribers]), [
    ["demo/hello", 1, 1],
    ["demo/hello", 2, 1],
  ]);
  await window.reload();
  await until("both after loading it again", async () => (await shows(window, "#list li")).length === 2);
  await window.close();
});

test("each command over HTTP answers, and what it publishes is on the page", async () => {
  const { all, shell } = await settle("Publish and ask over HTTP");
  await broker();
  const window = await browser.newPage();
  await window.goto(at("/"));
  await window.locator("[data-testid=state][data-state=live]").waitFor();
  const [publish, ask] = shell;
  // curl ends its answers without a new line.
  const answers = (await type(publish)).split(/(?<=\})(?=\{)/).map((line) => JSON.parse(line));
  const told = all.find(({ language }) => language === "json").text.trim().split("\n");
  const plain = ({ epoch, ...rest }) => rest;
  assert.deepEqual(answers.map(plain), told.map((line) => plain(JSON.parse(line))));
  const bodies = "[data-testid=entry] .body";
  await until("both on the page", async () => (await shows(window, bodies)).length === 2);
  assert.deepEqual(await shows(window, bodies), ["Hello from the backend", "Hello as text"]);
  const lines = ask.trim().split("\n");
  assert.equal(lines.length, 5);
  for (const line of lines) {
    const answer = await type(line);
    if (line.includes("/metrics")) assert.match(answer, /^fanfare_messages_published_total.* 2$/m);
    else assert.equal(JSON.parse(answer).status, undefined, line);
  }
  await window.close();
});

test("an event stream and the shell subscribe as they are said to", async () => {
  const { shell } = await settle("Subscribe, as an event stream and from the shell");
  await broker();
  await type("fanfare pub demo/lobby first");
  const [stream, lines] = shell;
  const events = begin(stream);
  await until("the event", () => /^id: \w+:1:\d+\nevent: message\ndata: .*"first"/m.test(events.output));
  const [pub, sub, many] = lines.trim().split("\n");
  assert.equal(await type(pub), "offset 2\n");
  const subscriber = begin(sub);
  await until("the last of them", () => subscriber.output.trim().split("\n").length === 2);
  assert.match(subscriber.output, /demo\/lobby Hello from the shell\n$/);
  await type(many);
  await until("the thousandth", () => /demo\/lobby 1000\n$/.test(subscriber.output));
  assert.equal(subscriber.output.trim().split("\n").length, 1002);
});

test("the lines for the console recover what was missed", async () => {
  const { all, shell } = await settle("Miss nothing");
  await broker();
  const window = await browser.newPage();
  const said = [];
  window.on("console", (message) => said.push(message.text()));
  await window.goto(at("/"));
  await window.locator("[data-testid=state][data-state=live]").waitFor();
  await type(shell[0].replace("while you were away", "before"));
  // As the console does it: what was declared by one line is there for the next.
  const session = await window.context().newCDPSession(window);
  const paste = async (expression) => {
    const { exceptionDetails } = await session.send("Runtime.evaluate", { expression, replMode: true });
    assert.equal(exceptionDetails, undefined);
  };
  await paste(all.find(({ language }) => language === "js").text);
  await until("the history", () => said.some((line) => /^1 replayed .*said before/.test(line)));
  await paste("socket.close()");
  await type(shell[0]);
  await until("the missed message", () => said.some((line) => /^2 replayed .*said while you were away/.test(line)), 20_000);
  assert.ok(!said.some((line) => line.includes("something is missing")), said.join("\n"));
  await window.close();
});

test("the page without any library chats over its own path", async () => {
  const { shell } = await settle("A page without any library");
  begin(shell[0]);
  await until("the broker", async () => (await fetch(at("/readyz"))).ok);
  const place = `http://localhost:${ports[8000]}/`;
  await until("the page", async () => (await fetch(place)).ok);
  const windows = [await browser.newPage(), await browser.newPage()];
  for (const [index, window] of windows.entries()) {
    await window.goto(place);
    const joined = async () => (await shows(window, "#log li")).filter((line) => line === "someone came in").length;
    await until("the arrival", async () => (await joined()) === index + 1);
  }
  await windows[0].locator("#text").fill("hello");
  await windows[0].locator("#text").press("Enter");
  for (const window of windows) await until("the message", async () => (await shows(window, "#log li")).at(-1) === "hello");
  await windows[0].close();
  await until("the leave", async () => (await shows(windows[1], "#log li")).at(-1) === "someone left");
  await windows[1].close();
});
