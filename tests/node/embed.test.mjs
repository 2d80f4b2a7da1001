// The program of `examples/embed.rs`, which has the broker inside, with its page in two windows.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { test } from "node:test";
import { BINARY, freePort, launchBrowser, until } from "./support.mjs";

const EXAMPLE = path.join(path.dirname(BINARY), "examples/embed");

test("an order in one window is seen in both, and Ctrl-C ends the program with 0", async () => {
  const address = `127.0.0.1:${await freePort()}`;
  const shop = spawn(EXAMPLE, [address], { stdio: "inherit" });
  const gone = once(shop, "exit");
  const browser = await launchBrowser();
  try {
    await until("the shop to be open", async () => (await fetch(`http://${address}/readyz`)).ok);
    const windows = [await browser.newPage(), await browser.newPage()];
    for (const page of windows) await page.goto(`http://${address}/`);
    await windows[0].getByLabel("Item").fill("a trumpet");
    await windows[0].getByRole("button", { name: "Order" }).click();
    for (const page of windows) {
      await until("the order to be seen", async () => (await page.locator("#orders").textContent()) === "1: a trumpet");
    }
    const late = await browser.newPage();
    await late.goto(`http://${address}/`);
    await until("the order to be seen by who comes later", async () => (await late.locator("#orders li").count()) === 1);
  } finally {
    await browser.close();
    shop.kill("SIGINT");
  }
  assert.deepEqual(await gone, [0, null]);
});
