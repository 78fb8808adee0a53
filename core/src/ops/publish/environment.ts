/** What the host lends to pushing and pulling. */
import type { DecompressFrame, Environment, FrameCompressor } from "../environment.ts";

export interface PullEnvironment extends Omit<Environment, "compressors"> {
  readonly decompressFrame: DecompressFrame;
}

export interface PublishEnvironment extends Environment {
  readonly decompressFrame: DecompressFrame;
  readonly frameCompressor: FrameCompressor;
}
