// Rates of readers, from two views of their positions. Pure.
import type { Group, SystemHealth } from "../../api/operator";

export interface Sample {
  at: number;
  positions: Record<string, number>;
}

export const SAMPLES_KEPT = 90;

export const nameOf = (group: Group): string => `${group.group} ${group.topic}`;

export function sampled(before: Sample[], health: SystemHealth): Sample[] {
  const positions = Object.fromEntries((health.groups ?? []).map((group) => [nameOf(group), group.position]));
  return [...before, { at: Date.parse(health.at), positions }].slice(-SAMPLES_KEPT);
}

/** Records a second between each two samples; a position that went back (a rebuild) counts as none. */
export function rates(samples: Sample[], name: string): number[] {
  const found: number[] = [];
  for (let n = 1; n < samples.length; n++) {
    const [from, until] = [samples[n - 1] as Sample, samples[n] as Sample];
    const seconds = (until.at - from.at) / 1000;
    const [a, b] = [from.positions[name], until.positions[name]];
    if (seconds > 0 && a !== undefined && b !== undefined) found.push(Math.max(0, b - a) / seconds);
  }
  return found;
}

/** A line through values as an SVG path, in a box of `width` by `height`. Empty for less than two values. */
export function spark(values: number[], width: number, height: number): string {
  if (values.length < 2) return "";
  const top = Math.max(...values, 1e-9);
  return values.map((value, n) => `${n === 0 ? "M" : "L"}${((n / (values.length - 1)) * width).toFixed(1)} ${(height - (value / top) * (height - 2) - 1).toFixed(1)}`).join("");
}
