/** What a composefs image knows of the content of a file: the bytes of small ones, the name of the rest. */
import type { ByteString } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { assertRange, type Source } from "../../source/index.ts";
import type { RegularFile } from "../../tree/index.ts";

/** Content that stands in the image. Classes, since a tree has one for each of its files. */
export class InlineContent implements Source {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.bytes.length;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    assertRange(offset, length, this.bytes.length);
    return this.bytes.subarray(offset, offset + length);
  }
}

/** Content that is kept elsewhere, in a store of objects. Reading it is refused; its size and digest are known. */
export class ExternalContent implements Source {
  /** Bytes, more than none. */
  readonly size: number;
  /** fs-verity digest of the content; without one overlayfs checks nothing. A string takes a third of an array's memory. */
  readonly digest: ByteString | undefined;
  /** Path of the object in the store. */
  readonly payload: ByteString | undefined;

  constructor(size: number, digest: ByteString | undefined, payload: ByteString | undefined) {
    this.size = size;
    this.digest = digest;
    this.payload = payload;
  }

  async read(): Promise<Uint8Array> {
    throw new UnsupportedError("composefs-external", "the content of this file is not in the image");
  }
}

const NOTHING = /* @__PURE__ */ new InlineContent(/* @__PURE__ */ new Uint8Array(0));

/** The content of a file of a composefs tree; throws TypeError for one whose content was not stored (`storeContents`). */
export function storedContent({ content }: RegularFile): InlineContent | ExternalContent {
  if (content.size === 0) return NOTHING; // never external, whatever it is
  if (content instanceof InlineContent || content instanceof ExternalContent) return content;
  throw new TypeError("a file of this tree has content that is neither inline nor external");
}

/** `xx/rest` of a digest in hexadecimal: where every store keeps the object. */
export function objectPath(digest: string): ByteString {
  return `${digest.slice(0, 2)}/${digest.slice(2)}` as ByteString;
}
