/** Anything that a release is made from: an image, an archive of a root, a directory. */
import { SourceError, UnsupportedError } from "../../errors/index.ts";
import { type Elf, isElf, parseElf } from "../../formats/elf/index.ts";
import {
  compressionOf,
  formatPlatform,
  isDirectoryTransport,
  isForeign,
  MAGIC_SIZE,
  type Platform,
} from "../../formats/oci/index.ts";
import { type Digest, formatDigest } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { attributes, type Directory, directory, resolvePath, walkTree } from "../../tree/index.ts";
import { silentReporter } from "../report.ts";
import { withAcls } from "./acls.ts";
import { applyLayer, withoutHostXattrs } from "./apply.ts";
import { createdOf } from "./created.ts";
import {
  type FlattenEnvironment,
  type FlattenOptions,
  flatten,
  MAX_ENTRIES,
  MAX_UNCOMPRESSED_BYTES,
} from "./flatten.ts";
import { type Allowance, decompress, readTarStream, tooLarge } from "./layer.ts";
import {
  type Admission,
  type HostFiles,
  type HostRegistries,
  type Image,
  openDirectoryImage,
  openImage,
} from "./open.ts";
import type { Reference } from "./reference.ts";

/** Bytes that come once and forward, from a file, a pipe or a terminal. */
export interface HostStream {
  /** Bytes, where they are known before reading. */
  readonly size: number | undefined;
  /** Each chunk is valid until the next one is asked for. */
  chunks(options?: ReadOptions): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export interface HostTreeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Something a person should know, such as that extended attributes could not be read. */
  readonly onNote?: ((code: string, message: string) => void) | undefined;
}

/** An image that another program has written to a temporary place. */
export interface ExportedImage {
  /** How to open it. */
  readonly reference: Reference;
  dispose(): Promise<void>;
}

/** The host behind all transports. */
export interface HostInputs extends HostFiles {
  /** `-` is the standard input. */
  openStream(path: string): Promise<HostStream>;
  /**
   * The tree of a directory. Contents are read when they are asked for; SourceError `changed` where a file is not what
   * it was when the tree was read.
   */
  readTree(path: string, options?: HostTreeOptions): Promise<Directory>;
  /**
   * Has podman or skopeo write an image of theirs. Errors: UnsupportedError `no-container-tool`; SourceError
   * `containers-storage` with what the program said.
   */
  exportImage(name: string, options?: ReadOptions): Promise<ExportedImage>;
}

export interface InputEnvironment extends FlattenEnvironment {
  readonly files: HostInputs;
  readonly registries?: HostRegistries | undefined;
  /** Without it anything may be used. */
  readonly admit?: Admission | undefined;
}

export interface InputOptions extends FlattenOptions {
  /** Chosen from an index; anything else must agree with it, as far as it says what it is for. */
  readonly platform?: Platform | undefined;
  /** Keeps, of a directory, the xattrs that describe the machine and not the file. */
  readonly keepHostXattrs?: boolean | undefined;
}

export interface Input {
  /** For people: the reference, without tag and digest. */
  readonly name: string;
  readonly tree: Directory;
  /** OCI's name: of the image's configuration, of `--platform`, or of the programs in the tree. */
  readonly architecture: string | undefined;
  /** Nanoseconds since 1970, of the image's configuration. */
  readonly created: bigint | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /**
   * What names the input: an image's manifest, or its id where no manifest came with it (docker-archive,
   * containers-storage); the uncompressed bytes of a tar. A directory has none.
   */
  readonly digest: Digest | undefined;
  /** Frees what content is read from. */
  dispose(): Promise<void>;
}

/**
 * Reads what the reference means, whatever it is. Errors: those of `openImage` and `flatten`, of the tar reader and of
 * the host; UnsupportedError `compressed-archive`; SourceError `no-such-platform`.
 */
export async function readInput(
  reference: Reference,
  environment: InputEnvironment,
  options: InputOptions = {},
): Promise<Input> {
  const { transport, path } = reference;
  const { files, hashes, signal, admit } = environment;
  if (["tar", "dir", "containers-storage"].includes(transport))
    await admit?.({ reference, repository: undefined, digests: [] });
  switch (transport) {
    case "tar":
      return readTarInput(path, environment, options);
    case "containers-storage": {
      const exported = await files.exportImage(path, { signal });
      try {
        const admitted = { ...environment, admit: undefined };
        const image = await openImage(exported.reference, admitted, { platform: options.platform, signal });
        // The manifest was made on the way here; the id is what podman shows.
        return await readImageInput(image, `${transport}:${path}`, image.configDigest, environment, options);
      } finally {
        await exported.dispose();
      }
    }
    case "dir": {
      const name = `${transport}:${path}`;
      const opened = await files.openDirectory(path);
      if (await isDirectoryTransport(opened, { signal })) {
        const image = await openDirectoryImage(opened, name, hashes, { platform: options.platform, signal });
        return readImageInput(image, name, image.digest, environment, options);
      }
      await opened.close();
      return readDirectoryInput(path, name, environment, options);
    }
    default: {
      const image = await openImage(reference, environment, { platform: options.platform, signal });
      return readImageInput(image, image.name, image.digest, environment, options);
    }
  }
}

/** Everything of the image is in the tree then; it is closed in any case. */
async function readImageInput(
  image: Image,
  name: string,
  digest: Digest,
  environment: InputEnvironment,
  options: InputOptions,
): Promise<Input> {
  try {
    const { root, dispose } = await flatten(image, environment, options);
    const { architecture, labels } = image.config;
    return { name, tree: root, architecture, created: createdOf(image.config), labels, digest, dispose };
  } finally {
    await image.close();
  }
}

async function readDirectoryInput(
  path: string,
  name: string,
  { files, signal, reporter = silentReporter }: InputEnvironment,
  options: InputOptions,
): Promise<Input> {
  const task = reporter.start("read the directory");
  try {
    const tree = await files.readTree(path, {
      signal,
      onNote: (code, message) => reporter.note({ code, message }),
    });
    if (options.keepHostXattrs !== true)
      for (const { node } of walkTree(tree)) node.xattrs = withoutHostXattrs(node.xattrs);
    const architecture = await chooseArchitecture(tree, name, options.platform);
    return { name, tree, architecture, created: undefined, labels: {}, digest: undefined, dispose: async () => {} };
  } finally {
    task.end();
  }
}

async function readTarInput(path: string, environment: InputEnvironment, options: InputOptions): Promise<Input> {
  const { files, hashes, signal, reporter = silentReporter } = environment;
  const name = `tar:${path}`;
  const limit = options.maxUncompressedBytes ?? MAX_UNCOMPRESSED_BYTES;
  const used = { uncompressedBytes: 0, contentBytes: 0, entries: 0 };
  const allowance: Allowance = {
    used,
    admit() {
      if (used.contentBytes <= limit && used.entries <= MAX_ENTRIES) return undefined;
      throw tooLarge(name, `passes a limit: ${limit} bytes of files and ${MAX_ENTRIES} entries`, limit);
    },
  };
  const stream = await files.openStream(path);
  const task = reporter.start("read the archive", stream.size);
  const contents = (await environment.openStore?.({})) ?? (await environment.scratch.create());
  try {
    const { start, chunks } = await peek(counted(stream.chunks({ signal }), (size) => task.advance(size)));
    const compression = compressionOf(start);
    if (isForeign(compression))
      throw new UnsupportedError(
        "compressed-archive",
        `${name}: is compressed with ${compression}; plain tar, gzip and zstd are read`,
      );
    const { entries, digest, end } = await readTarStream(
      decompress(chunks, compression, name, environment.decompressors),
      { what: name, limit, diffHash: hashes.create("sha256"), contents, allowance, isArchive: true, signal },
    );
    end();
    const tree = directory(attributes(0o755));
    applyLayer(tree, { what: name, entries: await withAcls({ what: name, entries, contents }), contents });
    return {
      name,
      tree,
      architecture: await chooseArchitecture(tree, name, options.platform),
      created: undefined,
      labels: {},
      digest: formatDigest("sha256", digest),
      dispose: () => contents.dispose(),
    };
  } catch (error) {
    await contents.dispose();
    throw error;
  } finally {
    task.end();
    await stream.close();
  }
}

async function* counted(chunks: AsyncIterable<Uint8Array>, count: (bytes: number) => void) {
  for await (const chunk of chunks) {
    count(chunk.length);
    yield chunk;
  }
}

/** The first bytes, and a stream that still has them. */
async function peek(chunks: AsyncIterable<Uint8Array>) {
  const iterator = chunks[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  const start = new Uint8Array(MAGIC_SIZE);
  let size = 0;
  while (size < MAGIC_SIZE) {
    const { done, value } = await iterator.next();
    if (done) break;
    start.set(value.subarray(0, MAGIC_SIZE - size), size);
    size += value.length;
    first.push(size < MAGIC_SIZE ? Uint8Array.from(value) : value); // asking for the next ends the life of this one
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    try {
      yield* first;
      for (let step = await iterator.next(); !step.done; step = await iterator.next()) yield step.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { start, chunks: all() };
}

/** Programs that a root has, the likeliest first. */
const PROGRAMS = ["usr/lib/systemd/systemd", "sbin/init", "bin/sh", "usr/bin/env", "bin/busybox"];
/** e_machine, class and byte order of ELF → OCI's name (Go's GOARCH). */
const MACHINES: readonly (readonly [Pick<Elf, "machine" | "bits" | "littleEndian">, string])[] = [
  [{ machine: 62, bits: 64, littleEndian: true }, "amd64"],
  [{ machine: 183, bits: 64, littleEndian: true }, "arm64"],
  [{ machine: 243, bits: 64, littleEndian: true }, "riscv64"],
  [{ machine: 21, bits: 64, littleEndian: true }, "ppc64le"],
  [{ machine: 22, bits: 64, littleEndian: false }, "s390x"],
  [{ machine: 258, bits: 64, littleEndian: true }, "loong64"],
  [{ machine: 3, bits: 32, littleEndian: true }, "386"],
  [{ machine: 40, bits: 32, littleEndian: true }, "arm"],
];
/** Bytes; systemd itself has 0.1 MB, a static busybox 2 MB. */
const MAX_PROGRAM = 32 * 1024 * 1024;

/** What a tree is for, by the first of its programs that says so. */
export async function architectureOfTree(tree: Directory): Promise<string | undefined> {
  for (const path of PROGRAMS) {
    const found = resolvePath(tree, path);
    if (found?.node.type !== "file") continue;
    const { content } = found.node;
    if (content.size > MAX_PROGRAM || !isElf(await content.read(0, Math.min(4, content.size)))) continue;
    const architecture = architectureOfElf(parseElf(await content.read(0, content.size)));
    if (architecture !== undefined) return architecture;
  }
  return undefined;
}

/** OCI's name of the machine that a program is for. */
export function architectureOfElf(elf: Elf): string | undefined {
  return MACHINES.find(
    ([{ machine, bits, littleEndian }]) =>
      elf.machine === machine && elf.bits === bits && elf.littleEndian === littleEndian,
  )?.[1];
}

/** The platform that was asked for, unless the tree says otherwise. */
async function chooseArchitecture(tree: Directory, name: string, platform: Platform | undefined) {
  const found = await architectureOfTree(tree);
  if (platform === undefined) return found;
  if (platform.os !== "linux" || (found !== undefined && found !== platform.architecture))
    throw new SourceError(
      "no-such-platform",
      `${name}: the programs in it are for linux/${found ?? "unknown"}, not for ${formatPlatform(platform)}`,
    );
  return platform.architecture;
}
