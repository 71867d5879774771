// The reads of one subject, one at a time. Pure but for its pauses.
import { isPassing, pauseAfter } from "./error";

export type Read = (signal: AbortSignal) => Promise<void>;

export class Reading {
  private readonly breaking = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private next: Read | null = null;
  private refusals = 0;
  /** A read is under way. */
  busy = false;

  constructor(private readonly onError: (error: Error) => void) {}

  /** Read now, or once more when the read under way has settled: broken off by each change, a slow one would never end. */
  again(read: Read): void {
    if (this.breaking.signal.aborted) return;
    if (this.busy) this.next = read;
    else void this.begin(read);
  }

  /** Break off the read under way; no other begins. */
  close(): void {
    this.breaking.abort();
    clearTimeout(this.timer);
  }

  private async begin(read: Read): Promise<void> {
    clearTimeout(this.timer);
    this.busy = true;
    let pause = 0;
    try {
      await read(this.breaking.signal);
      this.refusals = 0;
    } catch (error) {
      if (this.breaking.signal.aborted) return;
      if (isPassing(error)) pause = pauseAfter(this.refusals++);
      this.onError(error as Error);
    } finally {
      this.busy = false;
    }
    if (this.breaking.signal.aborted) return;
    const next = this.next;
    this.next = null;
    if (pause > 0) this.timer = setTimeout(() => void this.begin(next ?? read), pause);
    else if (next !== null) void this.begin(next);
  }
}
