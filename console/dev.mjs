// Develops the console against a server that runs: builds again whenever a source changes, serves the files, passes everything else
// on to the server, and loads the page anew. `node dev.mjs [http://127.0.0.1:2024] [--port 2025]`
import { createReadStream, readFileSync, statSync, watch } from "node:fs";
import { createServer, request as ask } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildConsole } from "./build.mjs";

const server = new URL(process.argv[2]?.startsWith("http") ? process.argv[2] : "http://127.0.0.1:2024");
const portAt = process.argv.indexOf("--port");
const port = portAt < 0 ? 2025 : Number(process.argv[portAt + 1]);
const here = dirname(fileURLToPath(import.meta.url));
const out = join(tmpdir(), `langlog-console-${port}`);
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8" };
const readers = new Set();
let building = null;
let again = false;

async function build() {
  if (building) {
    again = true;
    return;
  }
  building = buildConsole(out, { minify: false })
    .then(() => {
      console.log(`${new Date().toLocaleTimeString()} built`);
      for (const reader of readers) reader.write("data: built\n\n");
    })
    .catch((error) => console.error(error.message));
  await building;
  building = null;
  if (again) {
    again = false;
    await build();
  }
}

await build();
let soon = null;
for (const place of [join(here, "src"), join(here, "index.html")]) {
  watch(place, { recursive: true }, () => {
    clearTimeout(soon);
    soon = setTimeout(build, 60);
  });
}

const RELOAD = 'new EventSource("/console/@reload").onmessage = () => location.reload();';

createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/console/@reload") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": open\n\n");
    readers.add(response);
    request.on("close", () => readers.delete(response));
    return;
  }
  if (pathname === "/console/@reload.js") {
    response.writeHead(200, { "content-type": "text/javascript" });
    response.end(RELOAD);
    return;
  }
  if (pathname.startsWith("/console")) {
    const name = pathname.slice("/console/".length);
    const file = join(out, name);
    if (/^[\w.-]+\.(js|css|svg)$/.test(name) && statSync(file, { throwIfNoEntry: false })) {
      response.writeHead(200, { "content-type": TYPES[extname(name)], "cache-control": "no-store" });
      createReadStream(file).pipe(response);
      return;
    }
    const page = readFileSync(join(out, "index.html"), "utf8").replace("%base%", "/console/").replace("%mode%", "on");
    response.writeHead(200, { "content-type": TYPES[".html"], "cache-control": "no-store" });
    response.end(page.replace("</head>", '<script src="@reload.js"></script></head>'));
    return;
  }
  const headers = { ...request.headers, host: server.host };
  if (headers.origin) headers.origin = server.origin;
  const passed = ask({ hostname: server.hostname, port: server.port, path: request.url, method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    response.flushHeaders(); // a stream is open before it says anything
    answer.pipe(response);
  });
  passed.on("error", () => {
    response.destroy();
  });
  response.on("close", () => passed.destroy());
  request.pipe(passed);
}).listen(port, "127.0.0.1", () => console.log(`console at http://127.0.0.1:${port}/console/ for ${server.origin}`));
