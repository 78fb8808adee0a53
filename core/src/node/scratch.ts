/** Temporary files that have no name, so that no way of dying leaves one behind. */
import { assertRange, type ScratchSpace } from "../source/index.ts";
import { createUnnamedFile } from "./files.ts";

/** Appended bytes are collected up to this many before they are written. */
const BUFFER_SIZE = 1024 * 1024;

/** @param directory where the temporary files live; it needs room for the uncompressed layers */
export function fileScratch(directory: string): ScratchSpace {
  return {
    async create() {
      const file = await createUnnamedFile(directory);
      const buffer = new Uint8Array(BUFFER_SIZE);
      let buffered = 0;
      let written = 0;
      let sized = 0; // what the file has at least; zeros at its end were not written
      let closed = false;
      async function setSize(): Promise<void> {
        const size = written;
        await file.setSize(size);
        sized = Math.max(sized, size);
      }
      let flushing: Promise<void> | undefined; // readers may ask at the same time; one of them flushes
      async function writeBuffer(): Promise<void> {
        if (buffered === 0) return;
        await file.writeAt(written, buffer.subarray(0, buffered));
        written += buffered;
        buffered = 0;
      }
      function flush(): Promise<void> {
        flushing ??= writeBuffer().finally(() => {
          flushing = undefined;
        });
        return flushing;
      }
      return {
        get size() {
          return written + buffered;
        },
        async append(bytes) {
          if (buffered + bytes.length > BUFFER_SIZE) await flush();
          if (bytes.length >= BUFFER_SIZE) {
            await file.writeAt(written, bytes);
            written += bytes.length;
            return;
          }
          buffer.set(bytes, buffered);
          buffered += bytes.length;
        },
        async read(offset, length, options) {
          assertRange(offset, length, written + buffered);
          if (offset + length > written) await flush();
          if (sized < written) await setSize();
          return file.source(written).read(offset, length, options);
        },
        readInto(offset, target) {
          assertRange(offset, target.length, written + buffered);
          if (offset + target.length <= sized) {
            file.fillNow(offset, target);
            return undefined;
          }
          return (async () => {
            if (offset + target.length > written) await flush();
            if (sized < written) await setSize();
            file.fillNow(offset, target);
          })();
        },
        async dispose() {
          if (closed) return;
          closed = true;
          await file.close().catch(() => undefined); // nothing of it is wanted any more
        },
      };
    },
  };
}
