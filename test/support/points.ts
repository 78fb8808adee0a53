// Every call of the host that changes the output directory is a point, at which a test lets something happen.
import { constants } from "node:fs";
import fsPromises, { type FileHandle, open } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

export type Method = (...given: never[]) => Promise<unknown>;
/** Stands around each point. */
export type Wrap = (call: string, original: () => Promise<unknown>) => Promise<unknown>;

/** The methods of all file handles. */
export const filePrototype: Record<string, Method> = await (async () => {
  const handle = await open("/dev/null");
  await handle.close();
  return Object.getPrototypeOf(handle) as Record<string, Method>;
})();

/** Flags of open(2) as a number: files without a name. */
const isForWriting = (flags: unknown): boolean => typeof flags === "number" && (flags & constants.O_RDWR) !== 0;

/** Sends the host's calls through `wrap`; core's own code stays as it is. Returns what ends it. */
export function watchWrites(wrap: Wrap): () => void {
  const written = new WeakSet<FileHandle>(); // files opened for writing: others are input
  const functions = fsPromises as unknown as Record<string, Method>;
  const undo: (() => void)[] = [];
  function replace(
    holder: Record<string, Method>,
    name: string,
    isPoint: (self: unknown, given: unknown[]) => boolean,
    around = wrap,
  ) {
    const original = holder[name];
    if (original === undefined) throw new TypeError(`no ${name}`);
    holder[name] = function (this: unknown, ...given: never[]): Promise<unknown> {
      const run = () => original.apply(this, given);
      return isPoint(this, given) ? around(name, run) : run();
    };
    undo.push(() => {
      holder[name] = original;
    });
  }
  const opening: Wrap = async (call, original) => {
    const handle = (await wrap(call, original)) as FileHandle;
    const close = handle.close.bind(handle); // each handle has its own
    handle.close = () => wrap("close", close) as Promise<void>;
    written.add(handle);
    return handle;
  };
  for (const name of ["mkdir", "rename", "rmdir", "unlink"]) replace(functions, name, () => true);
  replace(functions, "open", (_, [, flags]) => flags === "wx+" || flags === "r" || isForWriting(flags), opening);
  for (const name of ["write", "truncate", "sync"])
    replace(filePrototype, name, (self) => written.has(self as FileHandle));
  syncBuiltinESMExports();
  return () => {
    for (const step of undo) step();
    syncBuiltinESMExports();
  };
}
