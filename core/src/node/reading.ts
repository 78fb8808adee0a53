/** What reading an image takes, an entry of its own: everything else of this folder takes as long again to load. */
export { type Extracted, extractImage } from "./extract.ts";
export { type OpenFileOptions, type OpenSource, openFile } from "./files.ts";
export { nodeCrc32, nodeHashes } from "./hashes.ts";
export { nativeDecompressor } from "./native-decompressor.ts";
