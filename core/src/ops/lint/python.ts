/** Compiled Python that does not fit its source any more. Spec: PEP 552, PEP 3147, CPython's importlib._bootstrap_external. */
import type { ByteString } from "../../bytes/index.ts";
import { type RegularFile, resolvePath } from "../../tree/index.ts";
import type { LintContext } from "./context.ts";
import { counted, type Found, type Lint } from "./finding.ts";

const HEADER_SIZE = 16; // bytes: magic, flags, time, size of the source; or a hash in place of the last two
/** Magic numbers of Python 3.7 and later, the first with flags; Python 2's are greater. */
const FIRST_MAGIC = 3390;
const LAST_MAGIC = 20000;
const FLAG_HASH_BASED = 1;

export interface PycHeader {
  /** Of the source, seconds since 1970 modulo 2^32. */
  readonly mtime: number;
  /** Of the source, bytes modulo 2^32. */
  readonly size: number;
}

/** Undefined for bytecode that does not depend on times: hash-based, or older than PEP 552. */
export function parsePycHeader(bytes: Uint8Array): PycHeader | undefined {
  if (bytes.length < HEADER_SIZE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_SIZE);
  const magic = view.getUint16(0, true);
  if (magic < FIRST_MAGIC || magic >= LAST_MAGIC || view.getUint16(2, true) !== 0x0a0d) return undefined;
  if ((view.getUint32(4, true) & FLAG_HASH_BASED) !== 0) return undefined;
  return { mtime: view.getUint32(8, true), size: view.getUint32(12, true) };
}

/** `a/__pycache__/b.cpython-313.opt-1.pyc` → `a/b.py`; `a/b.pyc` → `a/b.py`. Undefined where it is no such name. */
export function sourceOf(path: string): string | undefined {
  const cached = /^(.*\/)?__pycache__\/([^/.]+)\.[^/]*\.pyc$/.exec(path);
  if (cached !== null) return `${cached[1] ?? ""}${cached[2]}.py`;
  return path.endsWith(".pyc") ? path.slice(0, -1) : undefined;
}

/** The time as a .pyc has it: whole seconds, the low 32 bits. */
const toHeaderTime = (mtime: bigint): number => Number(BigInt.asUintN(32, mtime / 1_000_000_000n));

type Verdict = "fits" | "stale" | "clamped" | "orphan";

async function judge(context: LintContext, path: ByteString, file: RegularFile): Promise<Verdict> {
  const sourcePath = sourceOf(path);
  // Python reads what a link leads to, and takes its time.
  const source = sourcePath === undefined ? undefined : resolvePath(context.tree, sourcePath)?.node;
  if (source?.type !== "file") return path.includes("__pycache__/") ? "orphan" : "fits"; // b.pyc alone is imported as it is
  if (file.content.size < HEADER_SIZE) return "stale";
  const header = parsePycHeader(await file.content.read(0, HEADER_SIZE));
  if (header === undefined) return "fits";
  const size = source.content.size % 2 ** 32;
  if (header.size !== size || header.mtime !== toHeaderTime(source.mtime)) return "stale";
  return source.mtime > context.clamp && toHeaderTime(context.clamp) !== header.mtime ? "clamped" : "fits";
}

const REASONS: Readonly<Record<Exclude<Verdict, "fits">, (count: string) => string>> = {
  stale: (count) => `${count} with another time or size of the source in the header than the source has`,
  clamped: (count) => `${count} whose source is newer than the clamp: clamping its time makes them stale`,
  orphan: (count) => `${count} without a source, which Python never reads`,
};

const CURE =
  "RUN find /usr /opt -name '*.pyc' -delete && python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3*";

export const PYTHON_LINTS: readonly Lint[] = [
  {
    name: "python-bytecode",
    severity: "warning",
    looksFor:
      ".pyc files that do not fit their source, or will not once times are clamped: Python compiles anew at every start",
    cure: CURE,
    start(context) {
      const files: { readonly path: ByteString; readonly node: RegularFile }[] = [];
      return {
        visit({ path, node }) {
          if (path.endsWith(".pyc") && node.type === "file") files.push({ path, node });
        },
        async end() {
          const lists = { stale: context.paths(), clamped: context.paths(), orphan: context.paths() };
          for (const { path, node } of files) {
            context.options.signal?.throwIfAborted();
            const verdict = await judge(context, path, node);
            if (verdict !== "fits") lists[verdict].add(path);
          }
          return (["stale", "clamped", "orphan"] as const).flatMap((verdict): Found[] => {
            const paths = lists[verdict];
            return paths.count === 0
              ? []
              : [{ reason: REASONS[verdict](counted(paths.count, ".pyc file")), paths, code: verdict }];
          });
        },
      };
    },
  },
];
