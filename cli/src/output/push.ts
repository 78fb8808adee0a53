/** What `push` says when it is done. */
import { type Pushed, SECTION_TYPE } from "@ashlar/core/ops/publish";
import { formatBytes } from "./units.ts";

export function pushLines(repository: string, { descriptor, tag, releases, sent }: Pushed): string[] {
  const lines = releases.map(({ name, blobs, newBlocks, packs, subject }) => {
    const there = blobs.filter(({ result }) => result !== "sent").reduce((sum, { size }) => sum + size, 0);
    const kernel = blobs.some(({ mediaType, result }) => mediaType === SECTION_TYPE && result === "sent");
    const facts = [
      `${newBlocks} new blocks, ${packs} pack${packs === 1 ? "" : "s"}`,
      ...(kernel ? ["kernel or initrd are new"] : []),
      `${formatBytes(there)} were there`,
      ...(subject === undefined ? [] : [`refers to ${subject}`]),
    ];
    return `${name}: ${facts.join(", ")}`;
  });
  return [
    ...lines,
    `sent ${formatBytes(sent)}`,
    `${repository}${tag === undefined ? "" : `:${tag}`}@${descriptor.digest}`,
  ];
}
