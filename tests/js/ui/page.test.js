// LoadExternalComponent of the official client in a real browser. LANGLOG_URL: the server, on another origin than the page;
// ASSISTANT: whose components; CALLER: the user, where the server authenticates; CHROMIUM: the browser's program.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const LIMIT_MS = 90_000; // whatever else the machine does
const { LANGLOG_URL: api, ASSISTANT: assistant, NAMESPACE: namespace, CALLER: caller, CHROMIUM: executablePath } = process.env;
let browser;
let pages;

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
  browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
});

after(async () => {
  await browser?.close();
  pages?.close();
});

test("a component that the graph pushed is rendered with its style, keeps state, and speaks to the graph", async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  const query = new URLSearchParams({ api, assistant, ...(caller && { caller }), ...(namespace && { namespace }) });
  await page.goto(`http://127.0.0.1:${pages.address().port}/?${query}`);
  await page.click("#ask");
  try {
    await page.getByRole("heading", { name: "Sun in Rome" }).waitFor();
  } catch (error) {
    throw new Error(`${error.message} The page shows: ${await page.textContent("main")} ${complaints.join("\n")}`);
  }
  const shown = page.locator("#weather").first();
  await page.waitForFunction(() => {
    const element = document.querySelector(".shown").shadowRoot.querySelector("#weather");
    return getComputedStyle(element).color === "rgb(1, 2, 3)";
  });
  await shown.getByRole("button", { name: "more" }).click();
  await shown.getByText("2 days").waitFor();
  await shown.getByRole("button", { name: "Oslo" }).click();
  await page.getByRole("heading", { name: "Sun in Oslo" }).waitFor();
  assert.deepEqual(complaints, []);
});
