// What an option of the client changes: one request without it, one with it, and the path of what differs in what is looked at.
// Ids that the server mints and times are masked. An option that must be there is given twice, with two values (`instead`).

import { randomUUID } from "node:crypto";

const MINTED = /[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}/g;
const TIME = /20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)/g;

/** `given` and `instead` may be made of the scene, and so may `more`: options of both requests. */
export const change = (shows, given, rest = {}) => ({ shows, given, ...rest });

/** The parts of a stream, up to the first that is `last`; then it is left. */
export const read = async (open, last = () => false) => {
  const leaving = new AbortController();
  const parts = [];
  for await (const part of open(leaving.signal)) {
    parts.push(part);
    if (last(part)) break;
  }
  leaving.abort();
  return parts;
};

/** What both requests find: `args` of every request, and whatever the setting puts there; `names`: ids that are known. */
export class Scene {
  constructor(client) {
    this.client = client;
    this.suite = randomUUID();
    this.names = new Map();
    this.args = {};
    this.sent = [];
  }

  name(name, id) {
    this.names.set(id, name);
    return id;
  }
}

const made = (value, scene) => (typeof value === "function" ? value(scene) : value);

const masked = (value, names) => {
  if (Array.isArray(value)) return value.map((one) => masked(one, names));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [mask(key, names), masked(one, names)]));
  }
  return typeof value === "string" ? mask(value, names) : value;
};

const mask = (text, names) => text.replace(TIME, "<time>").replace(MINTED, (id) => names.get(id) ?? "<id>");

const differences = (path, one, other) => {
  if (JSON.stringify(one) === JSON.stringify(other)) return [];
  const found = path ? [path] : [];
  const objects = [one, other].every((value) => value !== null && typeof value === "object" && !Array.isArray(value));
  if (objects) {
    for (const key of new Set([...Object.keys(one), ...Object.keys(other)])) {
      const inner = path ? `${path}.${key}` : key;
      found.push(...(key in one && key in other ? differences(inner, one[key], other[key]) : [inner]));
    }
  } else if (Array.isArray(one) && Array.isArray(other)) {
    const inside = path ? `${path}.` : "";
    if (one.length !== other.length) found.push(`${inside}length`);
    one.slice(0, other.length).forEach((value, at) => found.push(...differences(`${inside}*`, value, other[at])));
  } else if (!path) {
    for (const value of [one, other]) if (value !== null && typeof value === "object" && !Array.isArray(value)) found.push(...Object.keys(value));
  }
  return found.length ? found : ["answer"];
};

/** The differences between both requests, and what was seen. `newClient(sent)` notes what it sends. */
export const seen = async (newClient, way, option) => {
  const line = way.changes[option];
  const found = [];
  const sent = [];
  for (const which of ["instead", "given"]) {
    const scene = new Scene(newClient(null));
    await (line.set ?? way.set)(scene);
    const options = { ...scene.args, ...made(line.more ?? {}, scene) };
    if (which in line) options[option] = made(line[which], scene);
    const requests = [];
    let looked;
    try {
      looked = await way.look(scene, options, await way.call(newClient(requests), options, scene));
    } catch (error) {
      looked = { error: `${error.status ?? error.name}` };
    }
    found.push(masked(looked ?? null, scene.names));
    await scene.leaveWith?.();
    sent.push(requests);
  }
  return { differences: new Set(differences("", ...found)), found, sent };
};
