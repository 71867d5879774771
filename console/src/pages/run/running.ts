// The nodes that a run executes now: events tell when a node has ended, the thread's state which ones have not. Pure.
import type { State } from "../../api/types";

export interface RunningNode {
  /** Of the graph that holds it: empty, or steps with the ids of their tasks, as in events. */
  namespace: string;
  /** Checkpoint that it began from. */
  checkpoint: string;
  node: string;
  task: string;
}

const DEEPEST = 20;

/** Tasks of a state, and of the states of its subgraphs, that have neither ended nor failed nor asked. */
export function runningOf(state: State, depth = 0): RunningNode[] {
  return state.tasks.flatMap((task) => {
    if (task.error != null || task.result != null || task.interrupts.length > 0) return [];
    const { checkpoint_ns: namespace = "", checkpoint_id: checkpoint } = state.checkpoint ?? {};
    const inside = task.state && depth < DEEPEST ? runningOf(task.state, depth + 1) : [];
    return [{ namespace, checkpoint: checkpoint ?? "", node: task.name, task: task.id }, ...inside];
  });
}
