// EROFS by itself: a compressed image is written, then read through a Blob and through HTTP ranges. Runs in a browser as it
// is; nothing here is Node's. `node examples/erofs-library.ts`
import { decodeUtf8, encodeUtf8, fromUtf8, showBytes } from "@ashlar/core/bytes";
import { inlineClusterEncoder } from "@ashlar/core/codecs";
import { type ErofsImage, openErofs, walkErofs, writeErofs } from "@ashlar/core/formats/erofs";
import { blobSource, bytesSource, cachedSource, type Fetch, httpSource, memorySink } from "@ashlar/core/source";
import { attributes, directory, putNode, regularFile, symlink } from "@ashlar/core/tree";

// 1. Write: any tree to any sink. Contents are sources, so nothing need be in memory.
const root = directory(attributes(0o755));
const poem = "Every block is checked before it is used.\n".repeat(20_000);
const xattrs = new Map([[fromUtf8("user.origin"), encodeUtf8("an example")]]);
putNode(root, "poems/long", regularFile(attributes(0o644, { xattrs }), bytesSource(encodeUtf8(poem))));
putNode(root, "poems/latest", symlink(attributes(0o777), fromUtf8("long")));
const sink = memorySink();
const compression = { encoder: inlineClusterEncoder(), algorithm: "lz4", level: 1, clusterSize: 16_384 } as const;
await writeErofs(root, sink, { compression });
const image = sink.bytes();
console.log(`${poem.length} bytes of content in an image of ${image.length}`);

// 2. Open from a Blob: a file that a user dropped on a page.
await show(await openErofs(blobSource(new Blob([image]))));

// 3. Open from a server. Here a function stands in place of the network; give `globalThis.fetch` instead.
let requests = 0;
const fetch: Fetch = async (_, { headers }) => {
  requests++;
  const [, start = 0, end = 0] = (/^bytes=(\d+)-(\d+)$/.exec(headers["range"] ?? "") ?? []).map(Number);
  const range = `bytes ${start}-${end}/${image.length}`;
  return new Response(image.slice(start, end + 1), { status: 206, headers: { "content-range": range } });
};
const remote = cachedSource(await httpSource("https://example.org/image.erofs", { fetch }), {
  blockSize: 16 * 1024,
  maxBytes: 1024 * 1024,
});
await show(await openErofs(remote));
console.log(`${requests} requests`);

/** List, stat, extended attributes, and a part of a file: only the clusters of that part are read. */
async function show(opened: ErofsImage): Promise<void> {
  for await (const { path, inode } of walkErofs(opened)) {
    console.log(`${inode.type} ${inode.mode.toString(8)} ${inode.size} /${showBytes(path)}`);
    for (const [name, value] of await opened.xattrs(inode)) console.log(`  ${showBytes(name)} = ${decodeUtf8(value)}`);
  }
  const inode = await opened.lookup("poems/long");
  if (inode === undefined) throw new Error("poems/long is not there");
  const line = await opened.content(inode).read(42 * 10_000, 42);
  console.log(`line 10,001: ${decodeUtf8(line).trim()}`);
}
