/** Disks in memory, for tests of what is written to them, in which order, and of disks that fail. */
import { SinkError, SourceError } from "../../core/src/errors/index.ts";
import type { Device } from "../../core/src/ops/update/index.ts";

/** Bytes of a page; what was never written takes no memory. */
const PAGE = 4096;

export type DeviceEvent =
  | { readonly type: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly type: "flush" };

export interface MemoryDevice extends Device {
  readonly pages: ReadonlyMap<number, Uint8Array>;
  /** Everything since the device was made. */
  readonly events: DeviceEvent[];
  /** Bytes that were read and written. */
  readonly traffic: { read: number; written: number };
  /** Changes the content without a trace. */
  put(offset: number, bytes: Uint8Array): void;
  /** A device with the same content and no past. */
  copy(): MemoryDevice;
  bytes(): Uint8Array;
}

/** What a disk does wrong; called before each operation with its number, of all operations. */
export interface Faults {
  /** Whether this write is lost without a sign. */
  readonly loses?: (offset: number, count: number) => boolean;
  /** Whether this operation fails with an I/O error. */
  readonly fails?: (operation: "read" | "write" | "flush", count: number) => boolean;
}

export function memoryDevice(
  size: number,
  { sectorSize = 512, faults = {}, from }: { sectorSize?: 512 | 4096; faults?: Faults; from?: MemoryDevice } = {},
): MemoryDevice {
  const pages = new Map(from?.pages ?? []); // pages are replaced, never changed
  const events: DeviceEvent[] = [];
  const traffic = { read: 0, written: 0 };
  let count = 0;
  function put(offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const page = Math.floor((offset + at) / PAGE);
      const within = (offset + at) % PAGE;
      const length = Math.min(PAGE - within, bytes.length - at);
      const next = Uint8Array.from(pages.get(page) ?? new Uint8Array(PAGE));
      next.set(bytes.subarray(at, at + length), within);
      pages.set(page, next);
      at += length;
    }
  }
  function get(offset: number, length: number): Uint8Array {
    if (offset < 0 || offset + length > size) throw new RangeError(`${length} bytes at ${offset} of ${size}`);
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const within = (offset + at) % PAGE;
      const part = Math.min(PAGE - within, length - at);
      const page = pages.get(Math.floor((offset + at) / PAGE));
      if (page !== undefined) bytes.set(page.subarray(within, within + part), at);
      at += part;
    }
    return bytes;
  }
  const device: MemoryDevice = {
    name: "disk",
    size,
    sectorSize,
    pages,
    events,
    traffic,
    put,
    async read(offset, length) {
      if (faults.fails?.("read", count++) === true) throw new SourceError("io-error", "disk: input/output error");
      traffic.read += length;
      return get(offset, length);
    },
    async writeAt(offset, bytes) {
      if (offset < 0 || offset + bytes.length > size) throw new RangeError(`${bytes.length} bytes at ${offset}`);
      if (faults.fails?.("write", count++) === true) throw new SinkError("io-error", "disk: input/output error");
      events.push({ type: "write", offset, bytes: Uint8Array.from(bytes) });
      traffic.written += bytes.length;
      if (faults.loses?.(offset, count) !== true) put(offset, bytes);
    },
    async flush() {
      if (faults.fails?.("flush", count++) === true) throw new SinkError("io-error", "disk: input/output error");
      events.push({ type: "flush" });
    },
    dropCache: async () => true,
    copy: () => memoryDevice(size, { sectorSize, from: device }),
    bytes: () => get(0, size),
  };
  return device;
}
