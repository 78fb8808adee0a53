/** Hash functions that run anywhere, from @noble/hashes. Slow (about 170 MB/s): for tests, browsers and small inputs. */
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import type { Hashes } from "./hash.ts";

export const pureHashes: Hashes = {
  create: (algorithm) => {
    const state = (algorithm === "sha256" ? sha256 : sha512).create();
    return {
      update(bytes) {
        state.update(bytes);
      },
      digest: () => state.digest(),
    };
  },
  hash: (algorithm, bytes) => (algorithm === "sha256" ? sha256 : sha512)(bytes),
};
