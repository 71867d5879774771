// Places of nodes and edges, by dagre; subgraphs are boxes around their nodes. What is too large for dagre stands in rows. Pure.
import { Graph, layout } from "@dagrejs/dagre";

export interface Drawing {
  nodes: { id: string; type?: string; data?: { name?: string } | string }[];
  edges: { source: string; target: string; conditional?: boolean; data?: unknown }[];
}

export interface Box {
  id: string;
  label: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Placed {
  width: number;
  height: number;
  nodes: Box[];
  /** Nodes and edges that are not drawn. */
  omitted: number;
  /** Subgraphs, outer ones first. */
  groups: Box[];
  edges: { id: string; path: string; conditional: boolean; label: string; x: number; y: number }[];
}

const HEIGHT = 44;
const NODES_MOST = 400;
/** Nodes and edges that dagre places without the page standing still: its time grows with the product (19 s for 400 nodes with 800 edges). */
const PLACED_MOST = 80;
const ROW_MOST = 10;
const GAP = 34;
const ROW_GAP = 60;
const MARGIN = 16;

export const labelOf = (id: string): string => (id === "__start__" ? "start" : id === "__end__" ? "end" : (id.split(":").at(-1) ?? id));

const widthOf = (label: string): number => Math.max(136, Math.min(260, label.length * 8 + 44));

export function place(drawing: Drawing): Placed {
  const { nodes, edges } = bounded(drawing);
  const omitted = drawing.nodes.length - nodes.length + drawing.edges.length - edges.length;
  return { ...(nodes.length + edges.length > PLACED_MOST ? inRows(nodes, edges) : byDagre(nodes, edges)), omitted };
}

type Whole = Omit<Placed, "omitted">;

function bounded(drawing: Drawing): Drawing {
  const nodes = [...new Map(drawing.nodes.map((node) => [String(node.id), { ...node, id: String(node.id) }])).values()].slice(0, NODES_MOST);
  const known = new Set(nodes.map((node) => node.id));
  const ends = drawing.edges.map((edge) => ({ ...edge, source: String(edge.source), target: String(edge.target) }));
  return { nodes, edges: ends.filter((edge) => known.has(edge.source) && known.has(edge.target)).slice(0, NODES_MOST * 4) };
}

/** Rows by the distance from the start, in linear time; the label of a subgraph's node names the subgraph. */
function inRows(nodes: Drawing["nodes"], edges: Drawing["edges"]): Whole {
  const next = new Map<string, string[]>();
  const entered = new Set<string>();
  for (const { source, target } of edges) {
    (next.get(source) ?? next.set(source, []).get(source))?.push(target);
    if (source !== target) entered.add(target);
  }
  const seen = new Set<string>();
  const rows: string[][] = [];
  const spread = (from: string[]): void => {
    for (let row = from; row.length > 0; ) {
      for (let n = 0; n < row.length; n += ROW_MOST) rows.push(row.slice(n, n + ROW_MOST));
      row = row.flatMap((id) => next.get(id) ?? []).filter((id) => !seen.has(id) && seen.add(id));
    }
  };
  const roots = nodes.map((node) => node.id).filter((id) => !entered.has(id));
  for (const id of roots) seen.add(id);
  spread(roots);
  for (const { id } of nodes) if (!seen.has(id)) spread([(seen.add(id), id)]); // a cycle that nothing leads into
  const boxes = new Map<string, Box>();
  let width = 0;
  rows.forEach((row, index) => {
    let x = MARGIN;
    for (const id of row) {
      const label = id.split(":").map(labelOf).join(" / ");
      const wide = widthOf(label);
      boxes.set(id, { id, label, x, y: MARGIN + index * (HEIGHT + ROW_GAP), width: wide, height: HEIGHT });
      x += wide + GAP;
    }
    width = Math.max(width, x);
  });
  return {
    width,
    height: MARGIN * 2 + rows.length * (HEIGHT + ROW_GAP),
    nodes: [...boxes.values()],
    groups: [],
    edges: edges.map((edge, index) => {
      const [from, until] = [boxes.get(edge.source) as Box, boxes.get(edge.target) as Box];
      const [a, b] = [{ x: from.x + from.width / 2, y: from.y + HEIGHT }, { x: until.x + until.width / 2, y: until.y }];
      const [x, y] = [(a.x + b.x) / 2, (a.y + b.y) / 2];
      return { id: String(index), path: `M${round(a.x)} ${round(a.y)}C${round(a.x)} ${round(a.y + ROW_GAP / 2)} ${round(b.x)} ${round(b.y - ROW_GAP / 2)} ${round(b.x)} ${round(b.y)}`, conditional: edge.conditional === true, label: edgeLabel(edge), x, y };
    }),
  };
}

const edgeLabel = (edge: { data?: unknown }): string => (typeof edge.data === "string" ? edge.data.slice(0, 40) : "");

function byDagre(nodes: Drawing["nodes"], edges: Drawing["edges"]): Whole {
  const graph = new Graph({ compound: true, multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 34, ranksep: 46, marginx: 16, marginy: 16 });
  graph.setDefaultEdgeLabel(() => ({}));
  const groups = new Set<string>();
  for (const node of nodes) {
    graph.setNode(`node ${node.id}`, { width: widthOf(labelOf(node.id)), height: HEIGHT });
    const steps = node.id.split(":");
    for (let depth = 1; depth < steps.length; depth++) {
      const group = `group ${steps.slice(0, depth).join(":")}`;
      if (!groups.has(group)) {
        groups.add(group);
        graph.setNode(group, {});
        if (depth > 1) graph.setParent(group, `group ${steps.slice(0, depth - 1).join(":")}`);
      }
    }
    if (steps.length > 1) graph.setParent(`node ${node.id}`, `group ${steps.slice(0, -1).join(":")}`);
  }
  edges.forEach((edge, index) => graph.setEdge(`node ${edge.source}`, `node ${edge.target}`, { width: 1, height: 1 }, String(index)));
  layout(graph);
  const box = (id: string, label: string, name = id): Box => {
    const at = graph.node(name) as { x: number; y: number; width: number; height: number };
    return { id, label, x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height };
  };
  const size = graph.graph() as { width?: number; height?: number };
  return {
    width: size.width ?? 0,
    height: size.height ?? 0,
    nodes: nodes.map((node) => box(node.id, labelOf(node.id), `node ${node.id}`)),
    groups: [...groups].map((group) => box(group, labelOf(group.slice("group ".length)))),
    edges: edges.map((edge, index) => {
      const points = (graph.edge(`node ${edge.source}`, `node ${edge.target}`, String(index)) as { points: { x: number; y: number }[] }).points;
      const middle = points[Math.floor(points.length / 2)] ?? { x: 0, y: 0 };
      return { id: String(index), path: curve(points), conditional: edge.conditional === true, label: edgeLabel(edge), x: middle.x, y: middle.y };
    }),
  };
}

/** A smooth line through points. */
function curve(points: { x: number; y: number }[]): string {
  const [first, ...rest] = points;
  if (first === undefined) return "";
  let path = `M${round(first.x)} ${round(first.y)}`;
  for (let n = 0; n < rest.length; n++) {
    const point = rest[n] as { x: number; y: number };
    const next = rest[n + 1];
    if (next === undefined) path += `L${round(point.x)} ${round(point.y)}`;
    else path += `Q${round(point.x)} ${round(point.y)} ${round((point.x + next.x) / 2)} ${round((point.y + next.y) / 2)}`;
  }
  return path;
}

const round = (value: number): string => value.toFixed(1);
