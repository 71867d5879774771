// The header that the project's authentication wants. It stays in memory: closing the page forgets it.
import { useState } from "preact/hooks";
import { credentials, refused } from "../api/client";
import { Button, Field } from "../ui/basic";
import { Dialog } from "../ui/dialog";

const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export function CredentialsDialog({ onClose }: { onClose: () => void }) {
  const [known] = Object.entries(credentials.value);
  const [name, setName] = useState(known?.[0] ?? "Authorization");
  const [value, setValue] = useState(known?.[1] ?? "");
  const wrong = !NAME.test(name) ? "Not the name of an HTTP header" : null;
  const done = (): void => {
    refused.value = null;
    onClose();
  };
  const use = (event: Event): void => {
    event.preventDefault();
    if (wrong) return;
    credentials.value = value === "" ? {} : { [name]: value };
    done();
  };
  return (
    <Dialog title="Credentials" onClose={done}>
      <form onSubmit={use} style={{ padding: 0 }}>
        <p class="quiet">
          {refused.value !== null && (
            <>
              The server says: <strong>{refused.value}</strong>.{" "}
            </>
          )}
          Name the request header that the project's authentication reads. The console sends it with every request and keeps it until this page is closed.
        </p>
        <Field label="Header" wrong={wrong}>
          <input class="input" name="header" value={name} onInput={(event) => setName(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
        </Field>
        <Field label="Value" hint="For example: Bearer and a token">
          <input class="input" name="value" type="password" value={value} onInput={(event) => setValue(event.currentTarget.value)} autocomplete="off" autofocus />
        </Field>
        <footer>
          <Button onClick={done}>Cancel</Button>
          <Button kind="main" type="submit">
            Use
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
