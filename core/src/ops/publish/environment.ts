/** What the host lends to pushing and pulling. */
import type { CompressContent, DecompressFrame, Environment, FrameCompressor } from "../environment.ts";

export interface PullEnvironment extends Omit<Environment, "compressors"> {
  /** An initrd is made from files of the root with it; without, it is fetched. */
  readonly compressContent?: CompressContent | undefined;
  readonly decompressFrame: DecompressFrame;
}

export interface PublishEnvironment extends Environment {
  readonly compressContent: CompressContent;
  readonly decompressFrame: DecompressFrame;
  readonly frameCompressor: FrameCompressor;
}
