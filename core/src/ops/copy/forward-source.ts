/** A blob as a source that is read front to back: one stream, not a request for each read. */
import { IntegrityError } from "../../errors/index.ts";
import type { BlobStream, ClosableSource, Descriptor, Repository } from "../../formats/oci/index.ts";
import { assertRange, type ReadOptions } from "../../source/index.ts";

/** Reads out of order, as when an upload goes on where it broke, are made by ranges. One read at a time. */
export function forwardSource(repository: Repository, descriptor: Descriptor): ClosableSource {
  const { digest, size } = descriptor;
  let stream: BlobStream | undefined;
  let chunks: AsyncIterator<Uint8Array> | undefined;
  let rest: Uint8Array = new Uint8Array(0);
  let position = 0; // of the first byte of `rest`
  let ranged: ClosableSource | undefined;

  async function take(length: number, options: ReadOptions | undefined): Promise<Uint8Array> {
    const target = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      if (rest.length === 0) {
        stream ??= await repository.open(descriptor, options);
        chunks ??= stream.chunks(options)[Symbol.asyncIterator]();
        const { done, value } = await chunks.next();
        if (done)
          throw new IntegrityError("size-mismatch", `${repository.name}: blob ${digest}: has ${position} bytes`, {
            expected: size,
            actual: position,
          });
        rest = value;
        continue;
      }
      const part = rest.subarray(0, length - filled);
      target.set(part, filled);
      filled += part.length;
      position += part.length;
      rest = rest.subarray(part.length);
    }
    return target;
  }
  return {
    size,
    async read(offset, length, options) {
      assertRange(offset, length, size);
      if (length === 0) return new Uint8Array(0);
      if (offset === position) return take(length, options);
      ranged ??= await repository.openBlob(descriptor, options);
      return ranged.read(offset, length, options);
    },
    async close() {
      await chunks?.return?.();
      await stream?.close();
      await ranged?.close();
    },
  };
}
