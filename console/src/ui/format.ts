// Times, durations, sizes and texts as people read them. Pure.
import type { Json } from "../api/types";

export function ago(at: string, now: number): string {
  const seconds = Math.round((now - Date.parse(at)) / 1000);
  if (Number.isNaN(seconds)) return at;
  if (seconds < 0) return `in ${span(-seconds)}`;
  return seconds < 5 ? "just now" : `${span(seconds)} ago`;
}

function span(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  const days = Math.floor(seconds / 86_400);
  if (days < 60) return `${days} d`;
  return days < 730 ? `${Math.floor(days / 30)} months` : `${Math.floor(days / 365)} years`;
}

/** Local date and time, to the millisecond. */
export function exact(at: string): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return at;
  const two = (n: number): string => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** A duration in the unit that reads best. */
export function duration(ms: number): string {
  if (ms < 1) return `${(ms * 1000).toFixed(0)} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  for (const [unit, size] of [["kB", 1e3], ["MB", 1e6], ["GB", 1e9]] as const) {
    if (count < size * 999.5) return `${(count / size).toFixed(count < size * 10 ? 1 : 0)} ${unit}`;
  }
  return `${(count / 1e12).toFixed(1)} TB`;
}

/** An id, short: ids of one minute begin alike, so its end is part of it. */
export function shortId(id: string): string {
  return id.length > 13 ? `${id.slice(0, 4)}…${id.slice(-6)}` : id;
}

/** One line of a text, for lists. */
export function oneLine(text: string, most = 160): string {
  const line = text.slice(0, most * 4).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** The beginning of a value as JSON, in time that `most` bounds: the value may be a megabyte, or deep. */
export function excerpt(value: Json | undefined, most: number): string {
  const text = begun(value, most);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function begun(value: Json | undefined, left: number): string {
  if (left <= 0) return "…";
  if (typeof value === "string") return JSON.stringify(value.slice(0, left + 1));
  if (typeof value !== "object" || value === null) return String(value);
  const list = Array.isArray(value);
  let text = list ? "[" : "{";
  for (const name in value) {
    if (text.length > left) return text;
    if (text.length > 1) text += ",";
    if (!list) text += `${JSON.stringify(name.slice(0, left + 1))}:`;
    text += begun((value as { [name: string]: Json })[name], left - text.length);
  }
  return text + (list ? "]" : "}");
}
