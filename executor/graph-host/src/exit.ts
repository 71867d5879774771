/** The end of this process, which is its parent's to decide: the project's code may not end what runs other graphs and requests too. */

const exit = process.exit.bind(process);

/** Thrown by `process.exit` into the project's code. */
export class ProcessExit extends Error {
  override name = "ProcessExit";
}

/** End this process. */
export function endProcess(code: number): never {
  return exit(code);
}

/** From now on `process.exit` throws, so that it fails the node, request or module that calls it, as `sys.exit` does in Python. */
export function refuseExit(): void {
  process.exit = (code) => {
    throw new ProcessExit(`process.exit(${code ?? ""}) was called: only what calls it ends`);
  };
}
