// Flips bits on disks, at places found without our own readers.
import { type FileHandle, open } from "node:fs/promises";

const STEP = 16 * 1024 * 1024; // bytes

/** Bytes from the start of the file to the only occurrence of `needle`, which begins at a multiple of 4 KiB. */
export async function findBlock(path: string, needle: Uint8Array): Promise<number> {
  const head = Buffer.from(needle.subarray(0, 4096));
  const handle = await open(path, "r");
  const found: number[] = [];
  try {
    const { size } = await handle.stat();
    const chunk = Buffer.alloc(STEP);
    for (let offset = 0; offset < size; offset += STEP) {
      const { bytesRead } = await handle.read(chunk, 0, STEP, offset);
      for (let at = 0; at < bytesRead; at += 4096)
        if (chunk.subarray(at, at + head.length).equals(head)) found.push(offset + at);
    }
  } finally {
    await handle.close();
  }
  const [only, ...others] = found;
  if (only === undefined || others.length > 0) throw new Error(`${path}: content found ${found.length} times`);
  return only;
}

async function withByte(path: string, offset: number, change: (handle: FileHandle, byte: Buffer) => Promise<void>) {
  const handle = await open(path, "r+");
  try {
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, offset);
    await change(handle, byte);
  } finally {
    await handle.close();
  }
}

/** Flips the lowest bit of one byte. */
export function flipBit(path: string, offset: number): Promise<void> {
  return withByte(path, offset, async (handle, byte) => {
    byte[0] = byte[0]! ^ 1; // one byte was allocated
    await handle.write(byte, 0, 1, offset);
  });
}
