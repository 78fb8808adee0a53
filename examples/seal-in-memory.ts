// The library without a machine: a tree becomes a sealed root in memory, and is read back with every block checked.
// Runs in a browser as it is; nothing here is Node's. `node examples/seal-in-memory.ts`
import { encodeUtf8, fromUtf8, toHex } from "@ashlar/core/bytes";
import { openErofs, readTree, writeErofs } from "@ashlar/core/formats/erofs";
import { leafCollector, verifiedSource, writeHashDevice } from "@ashlar/core/formats/verity";
import { inlineBlockHasher, pureHashes } from "@ashlar/core/hash";
import { bytesSource, forwardSink, memorySink } from "@ashlar/core/source";
import { attributes, directory, putNode, regularFile, resolvePath, symlink } from "@ashlar/core/tree";

// 1. A tree; names are byte strings, content is anything that can be read.
const root = directory(attributes(0o755));
putNode(root, "usr/bin/hello", regularFile(attributes(0o755), bytesSource(encodeUtf8("#!/bin/sh\necho hello\n"))));
putNode(root, "bin", symlink(attributes(0o777), fromUtf8("usr/bin")));

// 2. EROFS, and the digests of its blocks in the same pass.
const hasher = inlineBlockHasher(pureHashes);
const parameters = { algorithm: "sha256", dataBlockSize: 4096, hashBlockSize: 4096, salt: new Uint8Array(0) } as const;
const image = memorySink();
const leaves = leafCollector(image, hasher, parameters);
const { size } = await writeErofs(root, leaves);

// 3. The hash tree over them, as `veritysetup format` writes it.
const hashDevice = memorySink();
const uuid = "00000000-0000-0000-0000-000000000000";
const { rootHash } = await writeHashDevice(forwardSink(hashDevice), await leaves.finish(size), parameters, hasher, {
  uuid,
});
console.log(`root hash ${toHex(rootHash)}, ${size} bytes`);

// 4. Read it back: every block is compared with the root hash before it is handed out.
const verified = await verifiedSource(bytesSource(image.bytes()), bytesSource(hashDevice.bytes()), rootHash, {
  hasher,
});
const tree = await readTree(await openErofs(verified));
const hello = resolvePath(tree, "bin/hello");
if (hello?.node.type === "file") console.log(`/${hello.path}: ${hello.node.content.size} bytes`);
