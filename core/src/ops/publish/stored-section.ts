/** Sections of a UKI as layers: as they are, or in zstd frames, each of which is fetched and unpacked by itself. */
import { FormatError } from "../../errors/index.ts";
import type { ClosableSource, Descriptor, Repository } from "../../formats/oci/index.ts";
import { maxFrameSize } from "../../formats/pack/index.ts";
import { type Digest, formatDigest, parseDigest } from "../../hash/index.ts";
import { piecewiseSource, type Source } from "../../source/index.ts";
import { forwardSource } from "../copy/forward-source.ts";
import type { DecompressFrame } from "../environment.ts";
import type { PublishEnvironment } from "./environment.ts";
import {
  ANNOTATION_SECTION,
  ANNOTATION_SECTION_DIGEST,
  ANNOTATION_SECTION_FRAMES,
  ANNOTATION_SECTION_SIZE,
  SECTION_FRAMES_TYPE,
  SECTION_TYPE,
} from "./media-types.ts";
import type { Section } from "./take-apart.ts";

/** Bytes of a section in one frame, the last may have fewer. A kernel of 14 MB is 0.7 % smaller in a single one. */
const FRAME_CONTENT = 1024 * 1024;
/** Frames of one section. */
const MAX_FRAMES = 4096;
/** Tried first, since a kernel or an initrd may be compressed well already. */
const TRIAL_LEVEL = 3;
/** A section that the trial makes smaller by less than this share of it is stored as it is. */
const MIN_SAVED = 1 / 128;
const LEVEL = 19;

/** A section and the layer that has it. */
export interface StoredSection {
  /** Of the section. */
  readonly digest: Digest;
  /** Bytes of the section. */
  readonly size: number;
  readonly layer: Descriptor;
  /** Bytes of each frame in the layer; undefined where the layer is the section. */
  readonly frames: readonly number[] | undefined;
}

/** What a manifest says of a section. Throws FormatError `bad-section` where sizes do not go together, `bad-digest`. */
export function parseStoredSection(layer: Descriptor, what: string): StoredSection {
  if (layer.mediaType === SECTION_TYPE) return { digest: layer.digest, size: layer.size, layer, frames: undefined };
  const fail = (message: string): never => {
    throw new FormatError("bad-section", `${what}: section ${layer.digest}: ${message}`, { path: what });
  };
  const {
    [ANNOTATION_SECTION_DIGEST]: digest = "",
    [ANNOTATION_SECTION_SIZE]: sizeText = "",
    [ANNOTATION_SECTION_FRAMES]: framesText = "",
  } = layer.annotations;
  const [size, ...frames] = [sizeText, ...framesText.split(",", MAX_FRAMES + 1)].map((text) =>
    /^[1-9][0-9]{0,14}$/.test(text) ? Number(text) : fail("has something else than sizes"),
  ) as [number, ...number[]];
  if (frames.length > MAX_FRAMES || frames.length !== Math.ceil(size / FRAME_CONTENT))
    fail(`${size} bytes are not in ${frames.length} frames`);
  if (frames.some((frame, index) => frame > maxFrameSize(frameContent(size, index)))) fail("a frame is too large");
  const stored = frames.reduce((sum, frame) => sum + frame, 0);
  if (stored !== layer.size) fail(`its frames have ${stored} bytes, the layer ${layer.size}`);
  return { digest: parseDigest(digest), size, layer, frames };
}

/** Bytes of a section in its frame number `index`. */
function frameContent(size: number, index: number): number {
  return Math.min(FRAME_CONTENT, size - index * FRAME_CONTENT);
}

/**
 * The section where it is stored, best read front to back; one frame is held. Nothing of it is verified but by the reader.
 * @param onFetched is told how many bytes of the layer were read
 */
export function openStoredSection(
  repository: Repository,
  { size, layer, frames }: StoredSection,
  decompressFrame: DecompressFrame,
  onFetched: (amount: number) => void,
): ClosableSource {
  const stored = forwardSource(repository, layer);
  const counted: Source = {
    size: layer.size,
    async read(offset, length, options) {
      const bytes = await stored.read(offset, length, options);
      onFetched(length);
      return bytes;
    },
  };
  const content = frames === undefined ? counted : unpackedSource(counted, size, frames, decompressFrame, layer.digest);
  return { size, read: (...range) => content.read(...range), close: () => stored.close() };
}

function unpackedSource(
  stored: Source,
  size: number,
  frames: readonly number[],
  decompressFrame: DecompressFrame,
  what: string,
): Source {
  let held: { readonly at: number; readonly bytes: Uint8Array } | undefined;
  let start = 0;
  const pieces = frames.map((length, index) => {
    const [from, at, content] = [start, index * FRAME_CONTENT, frameContent(size, index)];
    start += length;
    const source: Source = {
      size: content,
      async read(offset, wanted, options) {
        if (held?.at !== at) {
          held = undefined;
          const frame = await stored.read(from, length, options);
          held = { at, bytes: decompressFrame(frame, content, `section ${what}`) };
        }
        return held.bytes.subarray(offset, offset + wanted);
      },
    };
    return { at, source };
  });
  return piecewiseSource(size, pieces);
}

/** A layer and its bytes; the caller disposes them. */
export interface PackedSection {
  readonly layer: Descriptor;
  readonly content: Source;
  dispose(): Promise<void>;
}

/** The layer of a section: in frames where that is smaller. */
export async function packSection(
  { name, digest, content }: Section,
  { frameCompressor, scratch, hashes, reporter, signal }: PublishEnvironment,
): Promise<PackedSection> {
  const { size } = content;
  const annotations = { [ANNOTATION_SECTION]: name };
  const asItIs = { layer: { mediaType: SECTION_TYPE, digest, size, annotations }, content, dispose: async () => {} };
  if (Math.ceil(size / FRAME_CONTENT) > MAX_FRAMES) return asItIs;
  async function* framesAt(level: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; at += FRAME_CONTENT) {
      const part = await content.read(at, Math.min(FRAME_CONTENT, size - at), { signal });
      yield* await frameCompressor.compressFrames(part, FRAME_CONTENT, level);
    }
  }
  let tried = 0;
  for await (const frame of framesAt(TRIAL_LEVEL)) tried += frame.length;
  if (tried > size * (1 - MIN_SAVED)) return asItIs;
  const task = reporter.start("packing sections", size);
  const packed = await scratch.create();
  try {
    const hasher = hashes.create("sha256");
    const frames: number[] = [];
    for await (const frame of framesAt(LEVEL)) {
      hasher.update(frame);
      frames.push(frame.length);
      await packed.append(frame);
      task.advance(Math.min(FRAME_CONTENT, size - (frames.length - 1) * FRAME_CONTENT));
    }
    const layer: Descriptor = {
      mediaType: SECTION_FRAMES_TYPE,
      digest: formatDigest("sha256", hasher.digest()),
      size: packed.size,
      annotations: {
        ...annotations,
        [ANNOTATION_SECTION_DIGEST]: digest,
        [ANNOTATION_SECTION_SIZE]: `${size}`,
        [ANNOTATION_SECTION_FRAMES]: frames.join(","),
      },
    };
    return { layer, content: packed, dispose: () => packed.dispose() };
  } catch (error) {
    await packed.dispose();
    throw error;
  } finally {
    task.end();
  }
}
