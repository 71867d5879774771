// Notes the monotonic clock at hops of a run in the process of Node: see `bench.host_hops`. Loaded before the host by NODE_OPTIONS.
import { appendFileSync, existsSync, realpathSync } from "node:fs";
import { Socket } from "node:net";
import { isMainThread } from "node:worker_threads";
import { pathToFileURL } from "node:url";

const folder = process.env.LANGLOG_TIMES;
const library = `${process.cwd()}/node_modules/@langchain/langgraph/dist`;
if (folder !== undefined && isMainThread && process.argv[2] === "serve" && existsSync(library)) {
  const notes = [];
  const note = (name) => notes.push(`${process.hrtime.bigint()} ${name}\n`);
  const flush = () => {
    if (notes.length > 0) appendFileSync(`${folder}/${process.pid}.times`, notes.splice(0).join(""));
  };
  const { push, write } = Socket.prototype;
  Socket.prototype.push = function (...args) {
    note("node: bytes received");
    return push.apply(this, args);
  };
  Socket.prototype.write = function (...args) {
    note("node: write begun");
    const result = write.apply(this, args);
    note("node: written");
    return result;
  };
  const { Pregel } = await import(pathToFileURL(realpathSync(`${library}/pregel/index.js`)));
  const { stream } = Pregel.prototype;
  Pregel.prototype.stream = async function (...args) {
    note("node: graph begun");
    const chunks = await stream.apply(this, args);
    const iterate = chunks[Symbol.asyncIterator].bind(chunks);
    chunks[Symbol.asyncIterator] = async function* () {
      yield* { [Symbol.asyncIterator]: iterate };
      note("node: graph ended");
      setTimeout(flush, 5);
    };
    return chunks;
  };
  process.on("exit", flush);
}
