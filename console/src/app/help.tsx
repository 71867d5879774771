// All keys that hold on the page that is open.
import { Dialog } from "../ui/dialog";
import { shortcuts } from "./shortcuts";

export function HelpDialog({ onClose }: { onClose: () => void }) {
  const listed = new Map([["Ctrl K", "Go to a page, a thread or a run"], ...shortcuts.value.map(({ keys, does }) => [keys, does] as [string, string])]);
  return (
    <Dialog title="Keys" onClose={onClose}>
      <table>
        <tbody>
          {[...listed].map(([keys, does]) => (
            <tr key={keys}>
              <th scope="row" style={{ textAlign: "left", padding: "3px 24px 3px 0", whiteSpace: "nowrap" }}>
                {keys.split(" ").map((key) => (
                  <span class="kbd" key={key} style={{ marginRight: "4px" }}>
                    {key}
                  </span>
                ))}
              </th>
              <td>{does}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Dialog>
  );
}
