// A form for a value, made from its JSON Schema; what the schema does not say is edited as JSON.
import { createContext } from "preact";
import { useContext, useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import type { Json } from "../api/types";
import { Button } from "./basic";
import { controlOf, faults, initial, member, parsed, type Control, type Field, type Schema } from "./schema";

interface Props {
  schema: Schema | null | undefined;
  value: Json;
  onChange: (value: Json) => void;
  label: string;
  /** Whether some part of what is written is no JSON: then `value` is not what the person sees, and must not be sent. */
  onWrong?: (wrong: boolean) => void;
}

type Report = (field: string, wrong: boolean) => void;
/** To whom a field of a form says that it holds no JSON. */
const Reports = createContext<Report | null>(null);

/** Fields of the schema, or JSON; the person may change between the two. */
export function SchemaForm({ schema, value, onChange, label, onWrong }: Props) {
  const halfWritten = useRef(new Set<string>());
  const report: Report = (field, isWrong) => {
    if (isWrong) halfWritten.current.add(field);
    else halfWritten.current.delete(field);
    onWrong?.(halfWritten.current.size > 0);
  };
  const control = useMemo(() => controlOf(schema ?? undefined, schema ?? {}), [schema]);
  const [raw, setRaw] = useState(control.kind === "json");
  // by its kind: the same schema, read again, must not take away what the person writes
  useEffect(() => setRaw(control.kind === "json"), [control.kind]);
  // before the person has begun, an empty form is not wrong
  const first = useRef(JSON.stringify(value));
  const begun = useRef(false);
  begun.current ||= JSON.stringify(value) !== first.current;
  const wrong = raw || !begun.current ? [] : faults(control, value).slice(0, 5);
  return (
    <div class="schema-form" role="group" aria-label={label}>
      {control.kind !== "json" && (
        <div class="row">
          <span class="push" />
          <Button small kind="bare" aria-pressed={raw} onClick={() => setRaw(!raw)}>{raw ? "Edit as a form" : "Edit as JSON"}</Button>
        </div>
      )}
      <Reports.Provider value={report}>{raw ? <JsonField value={value} onChange={onChange} label={label} /> : <Input control={control} value={value} onChange={onChange} label={label} />}</Reports.Provider>
      {wrong.length > 0 && (
        <div role="status">
          <ul class="faults">
            {wrong.map((fault) => (
              <li key={fault.path + fault.text}>{`${fault.path || label} ${fault.text}`}</li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

export function JsonField({ value, onChange, label, rows = 8, onWrong }: { value: Json; onChange: (value: Json) => void; label: string; rows?: number; onWrong?: (wrong: boolean) => void }) {
  const [text, setText] = useState(() => JSON.stringify(value, null, 2));
  const [wrong, setWrong] = useState<string | null>(null);
  const id = useId();
  const report = useContext(Reports);
  const say = (isWrong: boolean): void => {
    onWrong?.(isWrong);
    report?.(id, isWrong);
  };
  // a field that goes takes what was wrong in it along
  const last = useRef(say);
  last.current = say;
  useEffect(() => () => last.current(false), []);
  // another value from outside: what is written here is replaced, unless it says the same
  useEffect(() => {
    try {
      if (JSON.stringify(parsed(text)) === JSON.stringify(value)) return;
    } catch {
      return; // incomplete: the user is still typing
    }
    setText(JSON.stringify(value, null, 2));
  }, [value]);
  const change = (next: string): void => {
    setText(next);
    try {
      onChange(parsed(next));
      setWrong(null);
      say(false);
    } catch (error) {
      setWrong((error as Error).message);
      say(true);
    }
  };
  return (
    <div class="stack">
      <textarea class="textarea code" rows={rows} value={text} aria-label={`${label} as JSON`} aria-invalid={wrong !== null} aria-describedby={wrong ? id : undefined} spellcheck={false} onInput={(event) => change(event.currentTarget.value)} />
      {wrong && <span id={id} class="wrong" role="alert">{wrong}</span>}
    </div>
  );
}

function Input({ control, value, onChange, label }: { control: Control; value: Json; onChange: (value: Json) => void; label: string }) {
  switch (control.kind) {
    case "text":
      return control.long || (typeof value === "string" && value.length > 80) ? (
        <textarea class="textarea" rows={4} aria-label={label} value={typeof value === "string" ? value : ""} onInput={(event) => onChange(event.currentTarget.value)} />
      ) : (
        <input class="input" aria-label={label} value={typeof value === "string" ? value : ""} onInput={(event) => onChange(event.currentTarget.value)} />
      );
    case "number":
      return <input class="input" type="number" step={control.whole ? 1 : "any"} aria-label={label} value={typeof value === "number" ? value : ""} onInput={(event) => onChange(event.currentTarget.value === "" ? null : Number(event.currentTarget.value))} />;
    case "flag":
      return <input type="checkbox" aria-label={label} checked={value === true} onChange={(event) => onChange(event.currentTarget.checked)} />;
    case "choice":
      return (
        <select class="select" aria-label={label} value={JSON.stringify(value)} onChange={(event) => onChange(parsed(event.currentTarget.value))}>
          {control.values.map((one) => (
            <option key={JSON.stringify(one)} value={JSON.stringify(one)}>{typeof one === "string" ? one : JSON.stringify(one)}</option>
          ))}
        </select>
      );
    case "constant":
      return <code class="mono">{JSON.stringify(control.value)}</code>;
    case "list":
      return <List of={control.of} value={Array.isArray(value) ? value : []} onChange={onChange} label={label} />;
    case "object":
      return <Fields fields={control.fields} value={typeof value === "object" && value !== null && !Array.isArray(value) ? value : {}} onChange={onChange} />;
    case "variants":
      return <Variants control={control} value={value} onChange={onChange} label={label} />;
    case "json":
      return <JsonField value={value} onChange={onChange} label={label} rows={4} />;
  }
}

function Fields({ fields, value, onChange }: { fields: Field[]; value: { [name: string]: Json }; onChange: (value: Json) => void }) {
  return (
    <div class="fields">
      {fields.map((field) => {
        const there = Object.hasOwn(value, field.name);
        const set = (next: Json): void => onChange({ ...value, [field.name]: next });
        const without = (): void => onChange(Object.fromEntries(Object.entries(value).filter(([name]) => name !== field.name)));
        return (
          <div class="field" key={field.name}>
            <span class="row">
              {field.required ? <span>{field.title}</span> : (
                <label class="row"><input type="checkbox" checked={there} aria-label={`Give ${field.title}`} onChange={(event) => (event.currentTarget.checked ? set(initial(field.control)) : without())} /> {field.title}</label>
              )}
              {!field.required && <span class="quiet">optional</span>}
            </span>
            {(there || field.required) && <Input control={field.control} value={member(value, field.name) ?? null} onChange={set} label={field.title} />}
            {field.about && <span class="hint">{field.about}</span>}
          </div>
        );
      })}
    </div>
  );
}

const ENTRIES_SHOWN = 50;

function List({ of, value, onChange, label }: { of: Control; value: Json[]; onChange: (value: Json) => void; label: string }) {
  return (
    <div class="entries">
      {value.slice(0, ENTRIES_SHOWN).map((one, index) => (
        <div class="row" key={index}>
          <Input control={of} value={one} label={`${label} ${index + 1}`} onChange={(next) => onChange(value.map((before, n) => (n === index ? next : before)))} />
          <Button small kind="bare" icon="close" aria-label={`Remove ${label} ${index + 1}`} onClick={() => onChange(value.filter((_, n) => n !== index))} />
        </div>
      ))}
      {value.length > ENTRIES_SHOWN && <span class="quiet">{`${value.length - ENTRIES_SHOWN} more: edit them as JSON`}</span>}
      <Button small onClick={() => onChange([...value, initial(of)])}>{`Add to ${label}`}</Button>
    </div>
  );
}

function Variants({ control, value, onChange, label }: { control: Control & { kind: "variants" }; value: Json; onChange: (value: Json) => void; label: string }) {
  const [chosen, setChosen] = useState(() => Math.max(0, control.variants.findIndex((variant) => faults(variant.control, value).length === 0)));
  const variant = control.variants[chosen];
  return (
    <div class="stack">
      <select class="select" aria-label={`${label}: kind`} value={String(chosen)} onChange={(event) => {
        const next = Number(event.currentTarget.value);
        setChosen(next);
        const picked = control.variants[next];
        if (picked) onChange(initial(picked.control));
      }}>
        {control.variants.map((one, index) => (
          <option key={index} value={String(index)}>{one.title}</option>
        ))}
      </select>
      {variant && <Input control={variant.control} value={value} onChange={onChange} label={label} />}
    </div>
  );
}
