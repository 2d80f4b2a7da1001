#!/usr/bin/env node
// Publishes the load of this machine once a second. Needs nothing but Node.js 18.

import { readFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const URL_OF_BROKER = process.env.FANFARE_HTTP ?? "http://127.0.0.1:8080";
const KEY = await key();

/** The key of the environment, else that of .env. */
async function key() {
  if (process.env.FANFARE_TOKEN) return process.env.FANFARE_TOKEN;
  const text = await readFile(new URL("../.env", import.meta.url), "utf8");
  const found = /^FANFARE_TOKEN=(.*)$/m.exec(text);
  if (!found) fail("no FANFARE_TOKEN in the environment or in .env");
  return found[1];
}

/** Publishes a JSON value. The answer says where it stands in the topic's history. */
async function publish(topic, data) {
  const answer = await fetch(`${URL_OF_BROKER}/v1/topics/${topic}/messages`, {
    method: "POST",
    headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify(data),
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}

function fail(why) {
  console.error(why);
  process.exit(1);
}

await publish("chat/lobby", { name: "Node.js", text: "Hello from the backend" }).catch((error) =>
  fail(`nothing published at ${URL_OF_BROKER}: ${error.cause?.message ?? error.message}`),
);
for (;;) {
  const load = Math.round(loadavg()[0] * 100) / 100;
  try {
    const { offset, subscribers } = await publish("live/load", { from: "Node.js", load });
    console.log(`${load} is message ${offset}, ${subscribers} listening`);
  } catch (error) {
    // The next one is as good; what must not be lost would be tried again here.
    console.log(`not published: ${error.cause?.message ?? error.message}`);
  }
  await sleep(1000);
}
