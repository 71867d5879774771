// Converts typed texts to the values of an update. Pure.
import type { Json } from "../../api/types";

export interface Edited {
  /** Channels whose text differs from what it was. */
  values: { [channel: string]: Json };
  /** Channel → why its text is no JSON. */
  wrong: Record<string, string>;
}

export function shown(value: Json | undefined): string {
  return JSON.stringify(value ?? null, null, 2);
}

export function editedOf(before: { [channel: string]: Json }, texts: Record<string, string>): Edited {
  const edited: Edited = { values: {}, wrong: {} };
  for (const [channel, text] of Object.entries(texts)) {
    if (text === shown(before[channel])) continue;
    try {
      const value = JSON.parse(text) as Json;
      if (JSON.stringify(value) !== JSON.stringify(before[channel] ?? null)) edited.values[channel] = value;
    } catch (error) {
      edited.wrong[channel] = (error as Error).message;
    }
  }
  return edited;
}

/** JSON where it is JSON, and text otherwise: what people type as an answer. */
export function answerOf(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
