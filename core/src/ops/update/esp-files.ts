/** The port behind which files of the EFI system partition are read and changed: a mounted volume, or a FAT in memory for tests. */
import type { ClosableSource } from "../../formats/oci/index.ts";
import type { Source } from "../../source/index.ts";
import type { CopyOptions } from "../artifacts.ts";

export interface EspFile {
  /** As it is stored; two names that differ in case alone are one on FAT. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

export interface EspWriteOptions extends CopyOptions {
  /** Bytes at the start of the file that are there already and stay; the file has as many at least. Default 0. */
  readonly from?: number | undefined;
}

/**
 * Paths are relative to the root of the volume, with `/` between. What is not flushed may be lost, in part, and in any order.
 * Errors are those of sources and sinks: SourceError `not-found`, SinkError `no-space`, `read-only`, `io-error`.
 */
export interface EspFiles {
  /** For people: where the volume is. */
  readonly name: string;
  /** Files of a folder, no folders; none where there is no such folder. */
  list(folder: string): Promise<readonly EspFile[]>;
  /** Of a file that nobody writes to. */
  open(path: string): Promise<ClosableSource>;
  /**
   * Makes a file of `content`, which is read front to back; one that is there already is replaced, but for what is to stay
   * of it. Where it breaks off the file is there with what was written.
   */
  write(path: string, content: Source, options?: EspWriteOptions): Promise<void>;
  /** Changes bytes of a file that is there, within its size. What lies in one sector of the medium is written at once or not at all. */
  overwrite(path: string, offset: number, bytes: Uint8Array): Promise<void>;
  /** Within one folder. Throws SinkError `exists` where `to` is there. */
  rename(from: string, to: string): Promise<void>;
  /** Throws SourceError `not-found`. */
  remove(path: string): Promise<void>;
  /** Everything that was done before, names too, is on the medium when it resolves. */
  flush(): Promise<void>;
  /** Bytes that files can still take. */
  free(): Promise<number>;
}
