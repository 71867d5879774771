// A piece of code or of a command, with a button that copies it.
import { CopyButton } from "./basic";

export function Code({ text, label = "Copy" }: { text: string; label?: string }) {
  return (
    <div class="code-block" tabIndex={0}>
      <span style={{ float: "right" }}>
        <CopyButton text={text} label={label} />
      </span>
      <pre>{text}</pre>
    </div>
  );
}
