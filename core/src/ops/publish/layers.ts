/** The layers that artifacts other than the root are put together from, as sources. Each is verified before it is used. */
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import type { Descriptor, Repository } from "../../formats/oci/index.ts";
import { assertDigest, digestAlgorithm, formatDigest } from "../../hash/index.ts";
import {
  bytesSource,
  chunksOf,
  type Piece,
  piecewiseSource,
  type Scratch,
  type ScratchSpace,
  type Source,
  sliceSource,
} from "../../source/index.ts";
import type { Assembly } from "./assembly.ts";
import { type FrameLayerEnvironment, readFrameLayer } from "./frame-layer.ts";
import { makeStoredSection, type SectionRoot } from "./make-section.ts";
import type { ReleaseManifest } from "./manifest.ts";
import { openStoredSection } from "./stored-section.ts";

/** Bytes of one layer of literals, uncompressed and as stored. */
export const MAX_LITERALS = 16 * 1024 * 1024;
/** Bytes of all literals of a release. Those of a disk that `ashlar build` made have some 0.3 MB. */
export const MAX_ALL_LITERALS = 256 * 1024 * 1024;
/** Bytes of literals that are held in memory; what is more goes to scratch space. */
const MAX_HELD_LITERALS = MAX_LITERALS;

export interface LayerEnvironment extends FrameLayerEnvironment {
  readonly scratch: ScratchSpace;
}

export interface OpenedLayers {
  /** Fetched and verified the first time. Throws UnsupportedError `too-many-literals`; what reading a layer throws. */
  open(digest: string): Promise<Source>;
  close(): Promise<void>;
}

export function openLayers(
  repository: Repository,
  manifest: ReleaseManifest,
  environment: LayerEnvironment,
  onProgress: (amount: number) => void = () => {},
  sectionRoot?: SectionRoot,
): OpenedLayers {
  const { sections, literals } = manifest;
  const opened = new Map<string, Promise<Source>>();
  const scratches: Scratch[] = [];
  let literalBytes = 0;
  let spill: Promise<Scratch> | undefined;

  async function newScratch(): Promise<Scratch> {
    const scratch = await environment.scratch.create();
    scratches.push(scratch);
    return scratch;
  }

  async function loadLiterals(descriptor: Descriptor): Promise<Source> {
    const what = `${repository.name}: literals ${descriptor.digest}`;
    const bytes = await readFrameLayer(repository, descriptor, MAX_LITERALS, environment, what);
    onProgress(descriptor.size);
    literalBytes += bytes.length;
    if (literalBytes > MAX_ALL_LITERALS)
      throw new UnsupportedError(
        "too-many-literals",
        `${repository.name}: the layers of literals have more than ${MAX_ALL_LITERALS} bytes together`,
      );
    if (literalBytes <= MAX_HELD_LITERALS) return bytesSource(bytes);
    return spillOver(bytes);
  }

  /** One scratch file for all of them, one after the other. */
  async function spillOver(bytes: Uint8Array): Promise<Source> {
    const turn = (spill ?? newScratch()).then(async (scratch) => {
      const at = scratch.size;
      await scratch.append(bytes);
      return { scratch, at };
    });
    spill = turn.then(({ scratch }) => scratch);
    spill.catch(() => {}); // whose turn it is says so
    const { scratch, at } = await turn;
    return sliceSource(scratch, at, bytes.length);
  }

  async function load(digest: string): Promise<Source> {
    const section = sections.find((one) => one.digest === digest);
    if (section === undefined) {
      const descriptor = literals.find((layer) => layer.digest === digest)!; // the assembly was checked
      return loadLiterals(descriptor);
    }
    const made =
      sectionRoot && (await makeStoredSection(repository, manifest, section, sectionRoot, environment, () => {}));
    if (made !== undefined) {
      onProgress(section.layer.size);
      return made;
    }
    const scratch = await newScratch();
    const { hashes, decompressFrame, signal } = environment;
    const stored = openStoredSection(repository, section, decompressFrame, onProgress);
    try {
      const hasher = hashes.create(digestAlgorithm(section.digest));
      for await (const chunk of chunksOf(stored, { signal })) {
        hasher.update(chunk);
        await scratch.append(chunk);
      }
      const actual = formatDigest(digestAlgorithm(section.digest), hasher.digest());
      assertDigest(actual, section.digest, `${repository.name}: section ${section.digest}`);
    } finally {
      await stored.close();
    }
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
