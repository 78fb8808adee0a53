// dm-verity hash devices.
import assert from "node:assert/strict";
import { encodeUtf8, equalBytes } from "../../../core/src/bytes/index.ts";
import {
  buildHashTree,
  checkVerity,
  emitHashDevice,
  hashDeviceSize,
  RawVeritySuperblock,
  verifiedSource,
} from "../../../core/src/formats/verity/index.ts";
import { inlineBlockHasher } from "../../../core/src/hash/index.ts";
import { nodeHashes } from "../../../core/src/node/index.ts";
import { bytesSource, forwardSink, memorySink } from "../../../core/src/source/index.ts";
import type { Parser } from "../harness.ts";
import { binary } from "./common.ts";

const hasher = inlineBlockHasher(nodeHashes);

async function verityDevices() {
  const data = Uint8Array.from({ length: 512 * 300 }, (_, i) => (i * 31) >> 3);
  const parameters = { algorithm: "sha256", salt: encodeUtf8("salt"), dataBlockSize: 512, hashBlockSize: 512 } as const;
  const leaves = await hasher.hashBlocks(data, { ...parameters, blockSize: 512 });
  const tree = await buildHashTree(leaves, parameters, hasher);
  const sink = memorySink();
  await emitHashDevice(forwardSink(sink), tree, { uuid: "00000000-0000-4000-8000-000000000001" });
  sink.setSize(hashDeviceSize(tree.dataBlocks, parameters));
  return { data, rootHash: tree.rootHash, hashDevice: sink.bytes() };
}
let devices: ReturnType<typeof verityDevices> | undefined;
const verity = () => {
  devices ??= verityDevices();
  return devices;
};

/** Whatever the hash device says: what comes out is what the root hash names, or nothing does. */
async function readVerity(bytes: Uint8Array): Promise<void> {
  const { data, rootHash } = await verity();
  const source = await verifiedSource(bytesSource(data), bytesSource(bytes), rootHash, { hasher });
  await checkVerity(bytesSource(data), bytesSource(bytes), rootHash, { hasher });
  const read = await source.read(0, source.size);
  assert.ok(equalBytes(read, data.subarray(0, read.length)), "verified bytes that are not the data");
}

export const VERITY_PARSERS: readonly Parser[] = [
  {
    name: "verity",
    mutants: binary(async () => {
      const { hashDevice } = await verity();
      return [{ bytes: hashDevice, placements: [{ struct: RawVeritySuperblock, offset: 0 }] }];
    }),
    read: readVerity,
  },
];
