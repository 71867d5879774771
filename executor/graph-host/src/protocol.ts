/**
 * Messages between worker and graph host, and their encoding on the socket.
 *
 * A message is four bytes of length (unsigned, the high byte first), then a msgpack map whose member `t` names its kind. The socket is
 * one end of a pair that the worker made; each side reads the other's messages in the order in which they were written. The same text
 * is at the head of `langlog_executor/graph_host/protocol.py`, and both sides' tests read `tests/js/protocol_vectors.json`.
 *
 *     worker                                        host
 *       load ──────────────────────────────────────►        the graphs of the project, once
 *            ◄────────────────────────── loaded | refused
 *       run | query (job) ─────────────────────────►        a run of a graph, or a question about one
 *            ◄─────────────────────── stream (job) …        what the run streams, in order
 *            ◄──────────────────── call (job, call)         the graph reads or writes checkpoints or the store
 *       answer | refuse (job, call) ───────────────►        … unless `call` is 0: then no answer is awaited
 *       stop (job) ────────────────────────────────►        cancel, drain, or drop: a dropped job sends nothing any more
 *       hold (job, on) ────────────────────────────►        its stream waits, since Redis takes less than it streams; then goes on
 *            ◄─────────────────────────── end (job)         with the result; the job is over
 *       ping (n) ──────────────────────────────────►
 *            ◄──────────────────────────── pong (n)         the host's event loop is free; with its memory in bytes
 *            ◄────────────────────────────────── log        a line that graph code has written to the console
 *
 * The host ends when the socket closes. JSON travels as bytes, values of checkpoints as the bytes that the project's serializer made.
 */
import { Decoder, Encoder } from "@msgpack/msgpack";

export const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;
const LENGTH_BYTES = 4;

export interface GraphFile {
  id: string;
  file: string;
  export: string;
}

export type ToHost =
  | { t: "load"; root: string; graphs: GraphFile[] }
  | { t: "run"; job: number; body: Uint8Array }
  | { t: "query"; job: number; kind: string; body: Uint8Array }
  | { t: "answer"; job: number; call: number; value: unknown }
  | { t: "refuse"; job: number; call: number; error: string; message: string }
  | { t: "stop"; job: number; how: "cancel" | "drain" | "drop" }
  | { t: "hold"; job: number; on: boolean }
  | { t: "ping"; n: number };

/** `[kind, …]`: see `StreamItem` in `stream.ts`. */
export type Item = [number, ...unknown[]];

export type ToWorker =
  | { t: "loaded"; node: string; langgraph: string; graphs: { id: string; static: boolean }[] }
  | { t: "refused"; graph_id: string; reason: string; file: string | null; line: number | null }
  | { t: "call"; job: number; call: number; name: string; args: unknown[] }
  | { t: "stream"; job: number; items: Item[] }
  | { t: "end"; job: number; result: unknown }
  | { t: "pong"; n: number; rss: number; heap: number }
  | { t: "log"; job: number; level: string; text: string };

const encoder = new Encoder({ ignoreUndefined: true });
const decoder = new Decoder();

/** The message as it stands on the socket. Throws for one that is too large. */
export function encoded(message: ToWorker | ToHost): Uint8Array {
  const body = encoder.encodeSharedRef(message);
  if (body.length > MESSAGE_BYTES_MAX) {
    throw new RangeError(`a message of ${body.length} bytes between graph and worker is over the limit of ${MESSAGE_BYTES_MAX}`);
  }
  const whole = Buffer.allocUnsafe(LENGTH_BYTES + body.length);
  whole.writeUInt32BE(body.length, 0);
  whole.set(body, LENGTH_BYTES);
  return whole;
}

/** Puts together messages from the pieces that a socket gives. */
export class Messages<M = ToHost> {
  #pieces: Buffer[] = [];
  #held = 0;
  #wanted = LENGTH_BYTES;
  #inBody = false;

  /** The messages that are complete with this piece, in order. Throws for bytes that are none of this protocol. */
  take(piece: Buffer): M[] {
    const found: M[] = [];
    this.#pieces.push(piece);
    this.#held += piece.length;
    while (this.#held >= this.#wanted) {
      const part = this.#cut(this.#wanted);
      if (this.#inBody) {
        found.push(decoder.decode(part) as M);
        this.#wanted = LENGTH_BYTES;
      } else {
        this.#wanted = part.readUInt32BE(0);
        if (this.#wanted > MESSAGE_BYTES_MAX) throw new RangeError(`a message of ${this.#wanted} bytes`);
      }
      this.#inBody = !this.#inBody;
    }
    return found;
  }

  #cut(length: number): Buffer {
    const first = this.#pieces[0];
    if (first !== undefined && first.length >= length) {
      const part = first.subarray(0, length);
      if (first.length === length) this.#pieces.shift();
      else this.#pieces[0] = first.subarray(length);
      this.#held -= length;
      return part;
    }
    const whole = Buffer.concat(this.#pieces);
    this.#pieces = whole.length === length ? [] : [whole.subarray(length)];
    this.#held = whole.length - length;
    return whole.subarray(0, length);
  }
}
