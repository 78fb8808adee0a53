/** The layers that artifacts other than the root are put together from, as sources. Each is verified before it is used. */
import { FormatError } from "../../errors/index.ts";
import { type Descriptor, type Repository, readBlob } from "../../formats/oci/index.ts";
import type { Hashes } from "../../hash/index.ts";
import {
  bytesSource,
  type Piece,
  piecewiseSource,
  type Scratch,
  type ScratchSpace,
  type Source,
  sliceSource,
} from "../../source/index.ts";
import type { DecompressFrame } from "../environment.ts";
import type { Assembly } from "./assembly.ts";
import { copyBlob } from "./copy-blob.ts";
import type { ReleaseManifest } from "./manifest.ts";
import { LITERALS_TYPE } from "./media-types.ts";

/** Bytes of one layer of literals, uncompressed and as stored. */
export const MAX_LITERALS = 16 * 1024 * 1024;

export interface LayerEnvironment {
  readonly hashes: Hashes;
  readonly decompressFrame: DecompressFrame;
  readonly scratch: ScratchSpace;
  readonly signal?: AbortSignal | undefined;
}

export interface OpenedLayers {
  /** Fetched and verified the first time. */
  open(digest: string): Promise<Source>;
  close(): Promise<void>;
}

export function openLayers(
  repository: Repository,
  { sections, literals }: ReleaseManifest,
  environment: LayerEnvironment,
  onProgress?: (amount: number) => void,
): OpenedLayers {
  const opened = new Map<string, Promise<Source>>();
  const scratches: Scratch[] = [];

  async function load(digest: string): Promise<Source> {
    const descriptor = [...sections, ...literals].find((layer) => layer.digest === digest)!; // the assembly was checked
    if (descriptor.mediaType === LITERALS_TYPE) return loadLiterals(repository, descriptor, environment, onProgress);
    const scratch = await environment.scratch.create();
    scratches.push(scratch);
    await copyBlob(repository, descriptor, scratch, environment.hashes, { signal: environment.signal, onProgress });
    return scratch;
  }
  return {
    open(digest) {
      const known = opened.get(digest);
      if (known !== undefined) return known;
      const layer = load(digest);
      opened.set(digest, layer);
      layer.catch(() => opened.delete(digest));
      return layer;
    },
    async close() {
      await Promise.allSettled(opened.values());
      for (const scratch of scratches.splice(0)) await scratch.dispose();
    },
  };
}

async function loadLiterals(
  repository: Repository,
  descriptor: Descriptor,
  { hashes, decompressFrame, signal }: LayerEnvironment,
  onProgress?: (amount: number) => void,
): Promise<Source> {
  const what = `${repository.name}: literals ${descriptor.digest}`;
  const stored = await readBlob(repository, descriptor, hashes, what, { limit: MAX_LITERALS, signal });
  onProgress?.(stored.length);
  const size = contentSize(stored);
  if (size === undefined || size > MAX_LITERALS)
    throw new FormatError("bad-literals", `${what}: does not say that it has at most ${MAX_LITERALS} bytes`, {
      path: what,
    });
  return bytesSource(decompressFrame(stored, size, what));
}

/** Bytes of the longest frame header, magic included, without a dictionary; literals are longer. */
const MIN_FRAME = 14;

/** Frame_Content_Size of the frame that `bytes` begin with (RFC 8878, 3.1.1); undefined where it does not say. */
function contentSize(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < MIN_FRAME || view.getUint32(0, true) !== 0xfd2fb528) return undefined;
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const at = isSingleSegment ? 5 : 6; // else a window descriptor stands before it
  switch (descriptor >> 6) {
    case 0:
      return isSingleSegment ? view.getUint8(at) : undefined;
    case 1:
      return view.getUint16(at, true) + 256;
    case 2:
      return view.getUint32(at, true);
    default:
      return Number(view.getBigUint64(at, true)); // held against a limit
  }
}

/**
 * An artifact from its pieces. A layer is opened when something of it is read.
 * @param artifact gives the artifacts that are put together already
 */
export function assembledSource(
  pieces: Assembly["artifacts"][number]["pieces"],
  layers: Pick<OpenedLayers, "open">,
  artifact: (name: string) => Source,
): Source {
  const placed: Piece[] = [];
  let offset = 0;
  for (const { layer, artifact: name, at = 0, size } of pieces) {
    if (layer !== undefined) placed.push({ at: offset, source: layerWindow(() => layers.open(layer), at, size) });
    else if (name !== undefined) placed.push({ at: offset, source: sliceSource(artifact(name), at, size) });
    offset += size;
  }
  return piecewiseSource(offset, placed);
}

/** What is read at once of a layer that cannot fill: a buffer of a larger read costs memory until it is collected. */
const PART_SIZE = 256 * 1024;

function layerWindow(open: () => Promise<Source>, at: number, size: number): Source {
  async function opened(): Promise<Source> {
    const layer = await open();
    if (at + size > layer.size)
      throw new FormatError(
        "bad-assembly",
        `a piece of ${size} bytes at ${at} is behind the end of a layer of ${layer.size}`,
      );
    return layer;
  }
  return {
    size,
    read: async (offset, length, options) => (await opened()).read(at + offset, length, options),
    async readInto(offset, target) {
      const layer = await opened();
      if (layer.readInto !== undefined) return layer.readInto(at + offset, target);
      for (let done = 0; done < target.length; done += PART_SIZE) {
        const part = target.subarray(done, done + PART_SIZE);
        part.set(await layer.read(at + offset + done, part.length));
      }
    },
  };
}
