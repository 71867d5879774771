// Places of nodes and edges, by dagre; subgraphs are boxes around their nodes. Pure.
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
  /** Subgraphs, outer ones first. */
  groups: Box[];
  edges: { id: string; path: string; conditional: boolean; label: string; x: number; y: number }[];
}

const HEIGHT = 44;
const NODES_MOST = 400;

export const labelOf = (id: string): string => (id === "__start__" ? "start" : id === "__end__" ? "end" : (id.split(":").at(-1) ?? id));

const widthOf = (label: string): number => Math.max(136, Math.min(260, label.length * 8 + 44));

export function place(drawing: Drawing): Placed {
  const graph = new Graph({ compound: true, multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 34, ranksep: 46, marginx: 16, marginy: 16 });
  graph.setDefaultEdgeLabel(() => ({}));
  const nodes = drawing.nodes.slice(0, NODES_MOST);
  const known = new Set(nodes.map((node) => node.id));
  const groups = new Set<string>();
  for (const node of nodes) {
    graph.setNode(node.id, { width: widthOf(labelOf(node.id)), height: HEIGHT });
    const steps = node.id.split(":");
    for (let depth = 1; depth < steps.length; depth++) {
      const group = `group ${steps.slice(0, depth).join(":")}`;
      if (!groups.has(group)) {
        groups.add(group);
        graph.setNode(group, {});
        if (depth > 1) graph.setParent(group, `group ${steps.slice(0, depth - 1).join(":")}`);
      }
    }
    if (steps.length > 1) graph.setParent(node.id, `group ${steps.slice(0, -1).join(":")}`);
  }
  const edges = drawing.edges.filter((edge) => known.has(edge.source) && known.has(edge.target)).slice(0, NODES_MOST * 4);
  edges.forEach((edge, index) => graph.setEdge(edge.source, edge.target, { width: 1, height: 1 }, String(index)));
  layout(graph);
  const box = (id: string, label: string): Box => {
    const at = graph.node(id) as { x: number; y: number; width: number; height: number };
    return { id, label, x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height };
  };
  const size = graph.graph() as { width?: number; height?: number };
  return {
    width: size.width ?? 0,
    height: size.height ?? 0,
    nodes: nodes.map((node) => box(node.id, labelOf(node.id))),
    groups: [...groups].map((group) => box(group, labelOf(group.slice("group ".length)))),
    edges: edges.map((edge, index) => {
      const points = (graph.edge(edge.source, edge.target, String(index)) as { points: { x: number; y: number }[] }).points;
      const middle = points[Math.floor(points.length / 2)] ?? { x: 0, y: 0 };
      return { id: String(index), path: curve(points), conditional: edge.conditional === true, label: typeof edge.data === "string" ? edge.data.slice(0, 40) : "", x: middle.x, y: middle.y };
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
