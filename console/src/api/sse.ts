// Server-sent events by fetch (which can send headers, and EventSource cannot), as the HTML standard says (9.2.6).

export interface SseEvent {
  event: string;
  data: string;
  /** The last id said so far on the stream, as the standard has it. */
  id: string;
}

/** Splits what arrives into events, however the bytes are cut. Pure: no I/O. */
export class SseParser {
  /** Parts of a line whose end has not arrived. */
  private parts: string[] = [];
  /** The last line ended in a CR, to which an LF may belong. */
  private mayEndIn = false;
  private event = "";
  private data: string[] = [];
  id: string;
  /** Milliseconds that the server wants between two tries, if it has said so. */
  retry: number | null = null;

  constructor(id = "") {
    this.id = id;
  }

  push(text: string): SseEvent[] {
    const found: SseEvent[] = [];
    if (text === "") return found;
    let start = this.mayEndIn && text.startsWith("\n") ? 1 : 0;
    this.mayEndIn = false;
    for (let end = lineEnd(text, start); end !== null; end = lineEnd(text, start)) {
      this.parts.push(text.slice(start, end.at));
      const event = this.line(this.parts.join(""));
      this.parts = [];
      if (event !== null) found.push(event);
      start = end.next;
      this.mayEndIn = start === text.length && text.endsWith("\r");
    }
    if (start < text.length) this.parts.push(text.slice(start));
    return found;
  }

  private line(line: string): SseEvent | null {
    if (line === "") {
      const [event, data] = [this.event, this.data];
      this.event = "";
      this.data = [];
      return data.length === 0 ? null : { event: event || "message", data: data.join("\n"), id: this.id };
    }
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line.startsWith(" ", colon + 1) ? colon + 2 : colon + 1);
    if (field === "event") this.event = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id" && !value.includes("\0")) this.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    return null;
  }
}

/** End of the next line; null if none is complete. */
function lineEnd(text: string, from: number): { at: number; next: number } | null {
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 10) return { at, next: at + 1 };
    if (code === 13) return { at, next: text.charCodeAt(at + 1) === 10 ? at + 2 : at + 1 };
  }
  return null;
}
