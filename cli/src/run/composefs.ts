import { once } from "node:events";
import { tmpdir } from "node:os";
import process from "node:process";
import { showBytes, toHex } from "@ashlar/core/bytes";
import { PolicyError } from "@ashlar/core/errors";
import {
  dumpLines,
  ExternalContent,
  type FormatVersion,
  isComposefs,
  openComposefs,
  readComposefsTree,
  type WriteComposefsOptions,
} from "@ashlar/core/formats/composefs";
import { defaultFsverity, measureSource } from "@ashlar/core/formats/fsverity";
import { parsePlatform } from "@ashlar/core/formats/oci";
import type { HashAlgorithm } from "@ashlar/core/hash";
import { fileScratch, nodeDecompressors, nodeFiles, nodeHashes, openFile, openRegistries } from "@ashlar/core/node";
import {
  type ComposefsDiff,
  composefsInfo,
  contentsOf,
  diffStored,
  objectsOf,
  readStoredFile,
  readStoredStream,
  type StoredTree,
  storeContents,
  storedAlgorithm,
  withPreparedInput,
  writeStored,
} from "@ashlar/core/ops/composefs";
import { parseReference } from "@ashlar/core/ops/image";
import { showPath, walkTree } from "@ashlar/core/tree";
import type {
  ComposefsDiffFlags,
  CreateFlags,
  DigestFlags,
  FileFlags,
  TreeFlags,
  WriteFlags,
} from "../commands/composefs.ts";
import { EXIT } from "../exit-codes.ts";
import { withOutputFile } from "./outputs.ts";
import { Failed, inSession, type Session } from "./session.ts";
import { blockHasher, registryOptions } from "./tools.ts";

type Version = WriteComposefsOptions["version"];

/** The rule of mkcomposefs where one of its two flags is given. */
function versionOf({ formatVersion, minVersion, maxVersion }: WriteFlags): Version {
  if (minVersion === undefined && maxVersion === undefined) return Number(formatVersion ?? 1) as FormatVersion;
  if (formatVersion !== undefined)
    throw new PolicyError("composefs-options", "--format-version excludes --min-version and --max-version");
  const min = minVersion === "1" ? 1 : 0;
  return { min, max: maxVersion === "1" ? 1 : min };
}

/** A transport in front makes it a reference; everything else is a file. */
function isReference(text: string): boolean {
  return /^[a-z][a-z-]*:/.test(text);
}

/** Reads and prepares a reference, once for each algorithm that `work` asks for. */
async function withReference<T>(
  reference: string,
  flags: TreeFlags,
  session: Session,
  work: (store: (algorithm: HashAlgorithm) => Promise<StoredTree>) => Promise<T>,
): Promise<T> {
  const { reporter, signal } = session;
  await using hasher = blockHasher(flags.workers);
  const environment = {
    hashes: nodeHashes,
    blockHasher: hasher,
    scratch: fileScratch(flags.tmpdir ?? tmpdir()),
    files: nodeFiles,
    registries: openRegistries(registryOptions(flags)),
    decompressors: nodeDecompressors,
    reporter,
    signal,
  };
  const preparation = flags.bootable ? "boot" : flags.oci ? "oci" : "none";
  const platform = flags.platform === undefined ? undefined : parsePlatform(flags.platform);
  return await withPreparedInput(
    parseReference(reference),
    environment,
    { platform, preparation },
    async (root, name) => {
      const contents = contentsOf(root);
      return await work(async (algorithm) => {
        await storeContents(contents, algorithm, environment);
        return { name, root };
      });
    },
  );
}

/** Any tree, for commands that only look at it. */
async function readSubject(text: string, flags: TreeFlags, session: Session): Promise<StoredTree> {
  const algorithm = flags.algorithm ?? (flags.bootable ? "sha512" : "sha256");
  if (isReference(text)) return withReference(text, flags, session, (store) => store(algorithm));
  refusePreparation(text, flags);
  if (text === "-") return readStandardInput(session);
  await using file = await openFile(text);
  return await readStoredFile(file, text);
}

function refusePreparation(text: string, { oci, bootable }: TreeFlags): void {
  if (oci || bootable)
    throw new PolicyError("composefs-options", `--oci and --bootable are for a REF, and ${text} is none`);
}

async function readStandardInput(session: Session): Promise<StoredTree> {
  const stream = await nodeFiles.openStream("-");
  try {
    return await readStoredStream(stream.chunks({ signal: session.signal }), "standard input");
  } finally {
    await stream.close();
  }
}

/** A dump, or a REF, as a tree to be written. */
function withTree<T>(
  reference: string | undefined,
  flags: WriteFlags,
  session: Session,
  work: (store: (algorithm: HashAlgorithm) => Promise<StoredTree>, fallback: HashAlgorithm) => Promise<T>,
): Promise<T> {
  const { fromDump } = flags;
  if (fromDump !== undefined) {
    if (reference !== undefined)
      throw new PolicyError("composefs-options", `--from-dump takes the place of a REF, and ${reference} is given`);
    return readSubject(fromDump, flags, session).then((tree) =>
      work(async () => tree, storedAlgorithm(tree) ?? "sha256"),
    );
  }
  if (reference === undefined) throw new PolicyError("composefs-options", "neither a REF nor --from-dump is given");
  if (!isReference(reference))
    return readSubject(reference, flags, session).then((tree) =>
      work(async () => tree, storedAlgorithm(tree) ?? "sha256"),
    );
  return withReference(reference, flags, session, (store) => work(store, flags.bootable ? "sha512" : "sha256"));
}

export function runCreate(flags: CreateFlags, ...args: string[]): Promise<void> {
  return inSession(flags, async (session) => {
    const output = args.at(-1)!; // at least one
    const version = versionOf(flags);
    await withTree(args.length === 2 ? args[0] : undefined, flags, session, async (store, fallback) => {
      const algorithm = flags.algorithm ?? fallback;
      const written = writeStored(await store(algorithm), version, algorithm, nodeHashes);
      const { bytes } = written;
      await withOutputFile(output, flags, async (file) => {
        await file.writeAt(0, bytes);
        await file.setSize(bytes.length);
      });
      const digest = toHex(written.digest);
      if (!flags.json) session.print(digest);
      else
        session.printJson({
          schema: "ashlar.composefs-create/v1",
          image: output,
          size: bytes.length,
          formatVersion: written.version,
          algorithm,
          digest,
          inodes: written.inodeCount,
        });
    });
  });
}

/** As the kernel command line and the OCI annotations spell it. */
const spelled = (version: FormatVersion, algorithm: HashAlgorithm): string => `v${version}-${algorithm}-12`;

export function runDigest(flags: DigestFlags, reference?: string): Promise<void> {
  return inSession(flags, async (session) => {
    const version = versionOf(flags);
    const digests: { formatVersion: FormatVersion; algorithm: HashAlgorithm; digest: string }[] = [];
    const own = await digestOfImage(reference, flags);
    if (own !== undefined) digests.push(own);
    else
      await withTree(reference, flags, session, async (store, fallback) => {
        const wanted = flags.all ? ALL : [{ version, algorithm: flags.algorithm ?? fallback }];
        let tree: StoredTree | undefined;
        let stored: HashAlgorithm | undefined;
        for (const { version, algorithm } of wanted) {
          if (stored !== algorithm || tree === undefined) tree = await store(algorithm);
          stored = algorithm;
          const written = writeStored(tree, version, algorithm, nodeHashes);
          digests.push({ formatVersion: written.version, algorithm, digest: toHex(written.digest) });
        }
      });
    if (flags.json) session.printJson({ schema: "ashlar.composefs-digest/v1", digests });
    else
      for (const { formatVersion, algorithm, digest } of digests)
        session.print(flags.all ? `${spelled(formatVersion, algorithm)}:${digest}` : digest);
  });
}

/** What a device may ask for: bootc's own first, then what older releases of it compute, then the same in SHA-256. */
const ALL: readonly { readonly version: FormatVersion; readonly algorithm: HashAlgorithm }[] = [
  { version: 1, algorithm: "sha512" },
  { version: 2, algorithm: "sha512" },
  { version: 1, algorithm: "sha256" },
  { version: 2, algorithm: "sha256" },
];

/** The digest of a file that is an image already; undefined for anything else. */
async function digestOfImage(path: string | undefined, flags: DigestFlags) {
  if (path === undefined || path === "-" || isReference(path) || flags.fromDump !== undefined) return undefined;
  await using file = await openFile(path);
  if (!(await isComposefs(file))) return undefined;
  refusePreparation(path, flags);
  const { version } = await openComposefs(file);
  const algorithm = flags.algorithm ?? "sha256";
  const { digest } = await measureSource(file, defaultFsverity(algorithm), { hashes: nodeHashes });
  return { formatVersion: version, algorithm, digest: toHex(digest) };
}

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

async function readImageOrDump(path: string, session: Session): Promise<StoredTree> {
  if (path === "-") return readStandardInput(session);
  await using file = await openFile(path);
  return await readStoredFile(file, path);
}

export function runLs(flags: FileFlags, path: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { root } = await readImageOrDump(path, session);
    const entries: { path: string; type: string; target?: string; object?: string }[] = [];
    for (const { node, path: at } of walkTree(root)) {
      if (at === "") continue;
      const shown = showPath(at);
      const object = node.type === "file" && node.content instanceof ExternalContent ? node.content.payload : undefined;
      const more =
        node.type === "symlink"
          ? { target: showBytes(node.target) }
          : object === undefined
            ? {}
            : { object: showBytes(object) };
      if (flags.json) entries.push({ path: shown, type: node.type, ...more });
      else if (node.type === "directory") session.print(`${shown}/`);
      else if (node.type === "symlink") session.print(`${shown} -> ${showBytes(node.target)}`);
      else session.print(object === undefined ? shown : `${shown} @ ${showBytes(object)}`);
    }
    if (flags.json) session.printJson({ schema: "ashlar.composefs-ls/v1", image: path, entries });
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
const DUMP_CHUNK = 256 * 1024;

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
    let chunk = "";
    const flush = async (): Promise<void> => {
      if (!process.stdout.write(chunk)) await once(process.stdout, "drain");
      chunk = "";
    };
    for (const line of dumpLines(tree.root, tree)) {
      chunk += line; // visible ASCII
      if (chunk.length >= DUMP_CHUNK) await flush();
    }
    await flush();
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
