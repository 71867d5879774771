// The React hook of the official client in a real browser, over both transports. LANGLOG_URL: the server, on another origin
// than the page; CHROMIUM: the browser's program.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const LIMIT_MS = 90_000; // whatever else the machine does
const api = process.env.LANGLOG_URL;
let browser;
let pages;
let address;

before(async () => {
  const bundle = await build({
    entryPoints: ["page.jsx"],
    bundle: true,
    write: false,
    format: "esm",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"', "process.env": "{}" },
  });
  const script = bundle.outputFiles[0].contents;
  const document = '<!doctype html><meta charset="utf-8"><div id="root"></div><script type="module" src="/page.js"></script>';
  pages = createServer((request, response) => {
    const wanted = request.url === "/page.js";
    response.setHeader("content-type", wanted ? "text/javascript" : "text/html");
    response.end(wanted ? script : document);
  });
  await new Promise((listening) => pages.listen(0, "127.0.0.1", listening));
  address = `http://127.0.0.1:${pages.address().port}`;
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
});

after(async () => {
  await browser?.close();
  pages?.close();
});

for (const transport of ["sse", "websocket"]) {
  describe(`over ${transport}`, () => {
    let page;
    const complaints = [];

    before(async () => {
      page = await browser.newPage();
      page.setDefaultTimeout(LIMIT_MS);
      page.on("pageerror", (error) => complaints.push(String(error)));
      await page.goto(`${address}/?transport=${transport}&api=${encodeURIComponent(api)}`);
    });
    after(() => page?.close());

    const say = async (text) => {
      await page.fill("input[name=said]", text);
      await page.click("#send");
    };
    const answered = async (text) => {
      try {
        await page.waitForFunction(
          (expected) =>
            // what a cancelled answer had said by then may stand behind it after a reload
            [...document.querySelectorAll("#messages li")].some((item) => item.textContent === expected) &&
            document.querySelector("#loading").textContent === "false",
          text,
        );
      } catch (error) {
        throw new Error(`${error.message} The page shows: ${await page.textContent("main")}`);
      }
    };
    const messages = () => page.$$eval("#messages li", (items) => items.map((item) => [item.dataset.type, item.textContent]));
    const runs = async () => {
      const thread = (await page.evaluate(() => location.hash)).slice(1);
      return (await fetch(`${api}/threads/${thread}/runs`)).json();
    };

    test("an answer appears word by word and then stands", async () => {
      await page.evaluate(() => {
        window.seen = new Set();
        new MutationObserver(() => {
          window.seen.add(document.querySelector("#messages li:last-child")?.textContent);
        }).observe(document.querySelector("#messages"), { childList: true, characterData: true, subtree: true });
      });
      await say("count 60");
      const counted = [...Array(60).keys()].join(" ");
      await answered(counted);
      const partial = await page.evaluate(() => [...window.seen]);
      assert.ok(partial.filter((text) => counted.startsWith(text) && text !== counted).length > 3, JSON.stringify(partial));
    });

    test("a tool waits for approval, and its result comes once that is given", async () => {
      await say("weather in Rome");
      await page.waitForSelector("#interrupt");
      assert.equal(await page.textContent("#interrupt p"), "look up Rome?");
      assert.deepEqual(await page.$$eval("#tool-calls li", (items) => items.map((item) => item.textContent)), ['weather {"place":"Rome"}']);
      await page.click("#yes");
      await answered("You said: sunny in Rome");
      assert.equal(await page.$("#interrupt"), null);
    });

    test("what a subgraph does is seen as its own", async () => {
      await say("research bees");
      await answered("You said: I read about research bees");
      assert.deepEqual(await page.$$eval("#subgraphs li", (items) => items.map((item) => item.textContent)), ["library"]);
    });

    test("a run that is stopped is cancelled", async () => {
      await say("count 3000");
      await page.waitForFunction(() => document.querySelector("#messages li:last-child")?.textContent.startsWith("0 1 2"));
      await page.click("#stop");
      await page.waitForFunction(() => document.querySelector("#loading").textContent === "false");
      const deadline = Date.now() + LIMIT_MS;
      while ((await runs())[0].status !== "interrupted") {
        assert.ok(Date.now() < deadline, "the run was not cancelled");
        await new Promise((later) => setTimeout(later, 50));
      }
    });

    test("a page that is loaded again in the middle goes on where the run is", async () => {
      await say("count 100");
      await page.waitForFunction(() => document.querySelector("#messages li:last-child")?.textContent.startsWith("0 1 2"));
      await page.reload();
      await answered([...Array(100).keys()].join(" "));
      const shown = await messages();
      assert.deepEqual(shown.slice(0, 2), [["human", "count 60"], ["ai", [...Array(60).keys()].join(" ")]]);
      assert.equal((await runs())[0].status, "success");
    });

    test("nothing went wrong on the page meanwhile", async () => {
      assert.deepEqual(complaints, []);
      assert.equal(await page.textContent("#error"), "");
    });
  });
}
