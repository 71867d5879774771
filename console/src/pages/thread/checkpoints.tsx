// The checkpoints of a thread, newest first, its branches drawn beside them.
import type { Loaded } from "../../api/load";
import type { State } from "../../api/types";
import { Badge, Button, Failure, Loading, Nothing, Time } from "../../ui/basic";
import { branchOf, placed, type Placed } from "./tree";

const ROW = 34;
const COLUMN = 14;
const MOST_COLUMNS = 8;

export const idOf = (state: State): string => state.checkpoint?.checkpoint_id ?? "";
export const parentOf = (state: State): string | null => state.parent_checkpoint?.checkpoint_id ?? null;

interface Props {
  checkpoints: Loaded<State[]>;
  /** Null: the newest. */
  chosen: string | null;
  /** Link of a checkpoint. */
  hrefOf: (id: string, isNewest: boolean) => string;
  /** Loads earlier ones, where there may be any. */
  earlier?: (() => void) | undefined;
}

export function Tree({ checkpoints: loaded, chosen, hrefOf, earlier }: Props) {
  const { value: checkpoints, error } = loaded;
  if (error && !checkpoints) return <Failure error={error} again={loaded.again} />;
  if (checkpoints === undefined) return <Loading />;
  if (checkpoints.length === 0) return <Nothing title="No checkpoint yet" />;
  const rows = placed(checkpoints, idOf, parentOf);
  const wide = Math.min(MOST_COLUMNS, 1 + rows.reduce((most, row) => Math.max(most, row.column, ...row.lines.map((line) => Math.max(line.from, line.to))), 0));
  const shown = chosen ?? idOf(checkpoints[0] as State);
  const branch = branchOf(checkpoints, shown, idOf, parentOf);
  return (
    <div class="tree">
      <ol>
        {rows.map((row, index) => (
          <li key={idOf(row.item)} class={branch.has(idOf(row.item)) ? "" : "aside"}>
            <Drawn row={row} wide={wide} chosen={idOf(row.item) === shown} />
            <a class="checkpoint" href={hrefOf(idOf(row.item), index === 0)} aria-current={idOf(row.item) === shown ? "true" : undefined}>
              <span class="number quiet">{String(row.item.metadata?.["step"] ?? "")}</span>
              <span class="clip">{label(row.item)}</span>
              {row.item.metadata?.["source"] !== "loop" && <Badge plain tone={row.item.metadata?.["source"] === "fork" || row.item.metadata?.["source"] === "update" ? "busy" : "quiet"}>{String(row.item.metadata?.["source"] ?? "?")}</Badge>}
              <span class="push">
                <Time at={row.item.created_at} />
              </span>
            </a>
          </li>
        ))}
      </ol>
      {earlier && (
        <div class="padded">
          <Button small onClick={earlier}>
            Earlier checkpoints
          </Button>
        </div>
      )}
    </div>
  );
}

/** Next nodes after the checkpoint. */
export function label(state: State): string {
  if (state.next.length === 0) return "end";
  return `→ ${state.next.join(", ")}`;
}

function Drawn({ row, wide, chosen }: { row: Placed<State>; wide: number; chosen: boolean }) {
  const x = (column: number): number => 9 + Math.min(column, MOST_COLUMNS - 1) * COLUMN;
  const middle = ROW / 2;
  return (
    <svg width={wide * COLUMN + 6} height={ROW} aria-hidden="true" class="lines">
      {row.lines.map(({ from, to: end }) =>
        from === end && end !== row.column ? (
          <path key={from} d={`M${x(from)} 0V${ROW}`} />
        ) : (
          <path key={from} d={`M${x(from)} 0C${x(from)} ${middle} ${x(end)} 4 ${x(end)} ${middle}`} />
        ),
      )}
      {row.hasParent && <path d={`M${x(row.column)} ${middle}V${ROW}`} />}
      <circle cx={x(row.column)} cy={middle} r={chosen ? 5 : 3.5} class={chosen ? "chosen" : ""} />
    </svg>
  );
}
