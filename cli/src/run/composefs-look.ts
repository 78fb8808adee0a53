import { once } from "node:events";
import process from "node:process";
import { showBytes, toHex } from "@ashlar/core/bytes";
import {
  dumpLines,
  ExternalContent,
  listLines,
  openComposefs,
  readComposefsTree,
} from "@ashlar/core/formats/composefs";
import { defaultFsverity, measureSource } from "@ashlar/core/formats/fsverity";
import type { HashAlgorithm } from "@ashlar/core/hash";
import { nodeHashes, openFile } from "@ashlar/core/node";
import {
  type ComposefsDiff,
  composefsInfo,
  diffStored,
  objectsOf,
  type StoredTree,
  storedAlgorithm,
} from "@ashlar/core/ops/composefs";
import { showPath, walkTree } from "@ashlar/core/tree";
import type { ComposefsDiffFlags, FileFlags, TreeFlags } from "../commands/composefs.ts";
import { EXIT } from "../exit-codes.ts";
import { isReference, readImageOrDump, readSubject } from "./composefs-subject.ts";
import { Failed, inSession } from "./session.ts";

export function runInfo(flags: FileFlags, path: string): Promise<void> {
  return inSession(flags, async (session) => {
    await using file = await openFile(path);
    const image = await openComposefs(file);
    const { root } = await readComposefsTree(image);
    const info = composefsInfo(image, root);
    const digests: Record<string, string> = {};
    for (const algorithm of ["sha256", "sha512"] as const)
      digests[algorithm] = toHex(
        (await measureSource(file, defaultFsverity(algorithm), { hashes: nodeHashes })).digest,
      );
    if (flags.json) {
      session.printJson({ schema: "ashlar.composefs-info/v1", image: path, digests, ...info });
      return;
    }
    const types = Object.entries(info.types).map(([type, count]) => `${count} ${type}`);
    session.print(`${path}: composefs version ${info.formatVersion}, ${info.size} bytes`);
    for (const [algorithm, digest] of Object.entries(digests)) session.print(`${algorithm}: ${digest}`);
    session.print(`names: ${info.names}; inodes: ${info.inodes} (${types.join(", ")})`);
    session.print(`in the image: ${info.inline.files} files, ${info.inline.bytes} bytes`);
    const unverified = info.external.unverified > 0 ? `, ${info.external.unverified} without a digest` : "";
    session.print(
      `elsewhere: ${info.external.files} files, ${info.external.bytes} bytes${unverified}; ${info.objects} objects`,
    );
  });
}

export function runLs(flags: FileFlags, path: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { root, homes = new Map() } = await readImageOrDump(path, session);
    if (!flags.json) return writeLines(listLines(root, homes));
    const entries: { path: string; type: string; target?: string; object?: string }[] = [];
    for (const { node, path: at } of walkTree(root)) {
      if (at === "") continue;
      const object = node.type === "file" && node.content instanceof ExternalContent ? node.content.payload : undefined;
      const more =
        node.type === "symlink"
          ? { target: showBytes(node.target) }
          : object === undefined
            ? {}
            : { object: showBytes(object) };
      entries.push({ path: showPath(at), type: node.type, ...more });
    }
    session.printJson({ schema: "ashlar.composefs-ls/v1", image: path, entries });
  });
}

export function runObjects(flags: FileFlags, path: string): Promise<void> {
  return inSession(flags, async (session) => {
    const objects = objectsOf((await readImageOrDump(path, session)).root);
    if (flags.json)
      session.printJson({ schema: "ashlar.composefs-objects/v1", image: path, objects: objects.map(showBytes) });
    else for (const object of objects) session.print(showBytes(object));
  });
}

/** Bytes of lines that go out at once. */
const WRITTEN_AT_ONCE = 256 * 1024;

/** @param lines visible ASCII and tabs, with their newlines */
async function writeLines(lines: Iterable<string>): Promise<void> {
  let chunk = "";
  const flush = async (): Promise<void> => {
    if (!process.stdout.write(chunk)) await once(process.stdout, "drain");
    chunk = "";
  };
  for (const line of lines) {
    chunk += line;
    if (chunk.length >= WRITTEN_AT_ONCE) await flush();
  }
  await flush();
}

export function runDump(flags: TreeFlags, subject: string): Promise<void> {
  return inSession(flags, async (session) => {
    const tree = await readSubject(subject, flags, session);
    if (flags.json) {
      session.printJson({
        schema: "ashlar.composefs-dump/v1",
        subject,
        lines: [...dumpLines(tree.root, tree)].map((line) => line.trimEnd()),
      });
      return;
    }
    await writeLines(dumpLines(tree.root, tree));
  });
}

function diffLinesOf(
  { first, onlyA, onlyB, changed, paths, attributes }: ComposefsDiff,
  a: string,
  b: string,
): string[] {
  if (first === undefined) return [`the same: ${paths} paths`];
  const counts = Object.entries(attributes).sort(([, x], [, y]) => y - x);
  return [
    `${first.path}: ${first.attribute}`,
    `  ${a}: ${first.a}`,
    `  ${b}: ${first.b}`,
    `${changed} of ${paths} paths differ, ${onlyA} are only in ${a}, ${onlyB} only in ${b}`,
    ...counts.map(([name, count]) => `  ${name}: ${count}`),
  ];
}

export function runDiff(flags: ComposefsDiffFlags, a: string, b: string): Promise<void> {
  return inSession(flags, async (session) => {
    // A reference is measured as the other side was, so that digests compare.
    const files = [a, b].filter((text) => !isReference(text));
    const side = async (text: string, algorithm: HashAlgorithm | undefined): Promise<StoredTree> =>
      isReference(text)
        ? readSubject(text, { ...flags, algorithm: flags.algorithm ?? algorithm }, session)
        : readImageOrDump(text, session);
    let known: HashAlgorithm | undefined;
    const trees = new Map<string, StoredTree>();
    for (const text of files) {
      const tree = await side(text, undefined);
      known ??= storedAlgorithm(tree);
      trees.set(text, tree);
    }
    const left = trees.get(a) ?? (await side(a, known));
    const right = trees.get(b) ?? (await side(b, known));
    const diff = diffStored(left, right);
    if (flags.json) session.printJson({ schema: "ashlar.composefs-diff/v1", a, b, ...diff });
    else for (const line of diffLinesOf(diff, a, b)) session.print(line);
    if (flags.exitCode && !diff.same) throw new Failed(EXIT.different);
  });
}
