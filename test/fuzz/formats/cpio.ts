// cpio archives.
import { type ByteString, concatBytes } from "../../../core/src/bytes/index.ts";
import { cpioTree, encodeCpio, parseCpio, RawCpioHeader } from "../../../core/src/formats/cpio/index.ts";
import { attributes, deviceNode, symlink } from "../../../core/src/tree/index.ts";
import type { Parser } from "../harness.ts";
import { at, b, binary, file, readFiles, type Seed, shape, treeOf } from "./common.ts";

async function cpioSeeds(): Promise<Seed[]> {
  const hard = file("two names");
  const tree = treeOf({
    init: symlink(attributes(0o777), b("usr/lib/init")),
    "usr/lib/init": file("#!", 0o755),
    "usr/lib/one": hard,
    "usr/lib/two": hard,
    "dev/console": deviceNode("character", attributes(0o600), 5, 1),
  });
  const one = await encodeCpio(tree);
  const bytes = concatBytes(one, new Uint8Array(512), await encodeCpio(treeOf({ "usr/lib/init": "newer" })));
  const placements = parseCpio(bytes).entries.map(({ offset }) => at(RawCpioHeader, offset));
  return [{ bytes, placements }];
}

/** A link whose target no path may have. */
function longLinkCpio(size: number): Promise<Uint8Array> {
  return encodeCpio(treeOf({ init: symlink(attributes(0o777), "a/".repeat(size / 2) as ByteString) }));
}

export const CPIO_PARSERS: readonly Parser[] = [
  {
    name: "cpio",
    mutants: binary(cpioSeeds),
    async *shapes() {
      yield shape("long link", await longLinkCpio(2 ** 21));
    },
    read: async (bytes) => readFiles(cpioTree(parseCpio(bytes).entries)),
  },
];
