// What the server answers instead of a result, and which of these answers pass by themselves. Pure.

/** Error response of the server, or the reason for no response (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly code?: string,
  ) {
    super(detail);
  }
}

/** The server answers, but a server behind it does not yet: read again, at growing pauses. */
const NOT_YET: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const PAUSES_MS = [1_000, 2_000, 4_000, 8_000];

/** Milliseconds to wait after so many refusals. */
export function pauseAfter(refusals: number): number {
  return PAUSES_MS[Math.min(refusals, PAUSES_MS.length - 1)] ?? 8_000;
}

/** The same request is answered in a while. */
export const isPassing = (error: unknown): error is ApiError => error instanceof ApiError && NOT_YET.has(error.status);

/** The same request is refused however often it is sent. */
export const isFinal = (error: unknown): error is ApiError => error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 408 && error.status !== 429;

/** Return the error in the data of an `error` event: what a stream ends with that cannot go on (`{"error": …, "message": "401: …"}`). */
export function errorOf(data: string): ApiError {
  let message = data;
  try {
    const found = JSON.parse(data) as { message?: unknown } | null;
    if (typeof found?.message === "string") message = found.message;
  } catch {
    // plain text
  }
  const [, status, detail] = /^(\d{3}): (.*)$/s.exec(message) ?? [];
  return new ApiError(status === undefined ? 500 : Number(status), (detail ?? message).slice(0, 500) || "The server has ended the stream.");
}
