/**
 * The host's end of the socket: messages that gather within one turn of the event loop leave in one write.
 *
 * What happens when the worker dies: the socket ends, and the process with it. A graph that holds the event loop does not see that, so a
 * thread of its own watches standard input, which the worker holds open, and ends the process (`watchWorker`).
 */
import { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { endProcess } from "./exit.js";
import { encoded, Messages, type ToHost, type ToWorker } from "./protocol.js";

/** For the process to end by itself, once the socket is closed, with what the project does at its exit. */
const GRACE_MS = 1000;
/** Writes of checkpoints that nobody waits for leave together: the worker lets them linger longer before it appends them. */
const LINGER_MS = 2;
/** Bytes that wait for the worker to read them before graphs are held up. */
const CROWDED_BYTES = 8 * 1024 * 1024;
/** Bytes that leave at once: a graph that does not yield lets no turn of the event loop end. */
const FULL_BYTES = 1024 * 1024;

export class Connection {
  readonly #socket: Socket;
  readonly #messages = new Messages();
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #scheduled = false;
  #lingering: NodeJS.Timeout | undefined;
  #roomFor: (() => void)[] = [];

  constructor(fd: number, onMessage: (message: ToHost) => void) {
    this.#socket = new Socket({ fd, readable: true, writable: true });
    this.#socket.on("data", (piece: Buffer) => {
      for (const message of this.#messages.take(piece)) onMessage(message);
    });
    this.#socket.on("end", () => endProcess(0));
    this.#socket.on("error", () => endProcess(1));
    this.#socket.on("drain", () => {
      const waiting = this.#roomFor;
      this.#roomFor = [];
      for (const go of waiting) go();
    });
  }

  /** `soon`: it may wait a moment for company, since nobody waits for it. Throws for a message that is too large; then nothing is sent. */
  send(message: ToWorker, soon = false): void {
    const whole = encoded(message);
    this.#waiting.push(whole);
    this.#waitingBytes += whole.length;
    if (this.#waitingBytes >= FULL_BYTES) {
      this.flush();
    } else if (soon) {
      this.#lingering ??= setTimeout(this.flush, LINGER_MS);
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.flush);
    }
  }

  /** What has gathered leaves now. */
  readonly flush = (): void => {
    this.#scheduled = false;
    clearTimeout(this.#lingering);
    this.#lingering = undefined;
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#socket.write(waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting));
  };

  /** Whether too much waits for the worker: callers that can wait, or leave something out, should. */
  get crowded(): boolean {
    return this.#socket.writableLength >= CROWDED_BYTES;
  }

  /** Resolves once the worker has read enough of what was sent. */
  async room(): Promise<void> {
    if (!this.crowded) return;
    await new Promise<void>((resolve) => this.#roomFor.push(resolve));
  }
}

/**
 * Ends this process, whatever it does, once the worker's end of standard input is closed. The thread waits in its own event loop: a
 * blocking read would keep a process that ends by itself from ending, since Node waits for its threads.
 */
export function watchWorker(): void {
  const watching = `
    const { Socket } = require("node:net");
    const input = new Socket({ fd: 0, readable: true, writable: false });
    input.on("error", () => undefined);
    input.on("close", () => setTimeout(() => process.kill(process.pid, "SIGKILL"), ${GRACE_MS}));
    input.resume();
  `;
  new Worker(watching, { eval: true, stdin: false, resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 } }).unref();
}
