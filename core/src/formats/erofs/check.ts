/** Looks for everything that is wrong with an image, and that no reader needs to care about. Collects, never repairs. */
import { isZero } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { chunksOf, type Source, sliceSource } from "../../source/index.ts";
import type { Accounts, SpaceRun } from "./accounts.ts";
import { clusterChecker } from "./check-clusters.ts";
import { type ErofsFinding, failure, type Report, warning } from "./findings.ts";
import { COMPAT, LONG_PREFIX_BIT, RawSuperblock, RawSuperblockExtension, SUPERBLOCK_OFFSET } from "./format.ts";
import { type ErofsImage, type OpenErofsOptions, openErofs } from "./read.ts";
import { checksumMatches } from "./superblock.ts";
import { type Survey, surveyErofs } from "./survey.ts";

export type { ErofsFinding } from "./findings.ts";

/** Errors that are kept, and warnings; a thoroughly broken image has no use for more. */
export const MAX_FINDINGS = 1000;

export interface CheckErofsOptions extends Pick<OpenErofsOptions, "devices" | "decompressor" | "xattrPrefixes"> {
  /** Whether compressed data is decompressed; it is unless this is false. */
  readonly decompress?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with bytes of the image as they are dealt with; they add up to its size. */
  readonly advance?: ((bytes: number) => void) | undefined;
}

/**
 * All findings, none for a sound image: broken structures and data, each once and with its place, and what readers do not
 * mind: order, link counts, reserved bytes, overlaps, bytes that belong to nothing and are not zero. Where an image cannot
 * be opened, the error that a reader gets is the finding.
 */
export async function checkErofs(source: Source, options: CheckErofsOptions = {}): Promise<ErofsFinding[]> {
  const findings: ErofsFinding[] = [];
  const counts = { error: 0, warning: 0 };
  const report: Report = (finding) => {
    const count = ++counts[finding.severity];
    if (count <= MAX_FINDINGS) findings.push(finding);
    else if (count === MAX_FINDINGS + 1)
      findings.push({
        ...finding,
        code: "too-many-findings",
        message: `there are more than ${MAX_FINDINGS} such findings`,
      });
  };
  const { devices, decompressor, xattrPrefixes } = options;
  let image: ErofsImage;
  try {
    image = await openErofs(source, { checksum: "ignore", devices, decompressor, xattrPrefixes });
    await checkSuperblock(image, report);
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    report(failure(error.code, error.message, { offset: error.details.offset }));
    return findings;
  }
  const survey = await surveyErofs(image, { report, signal: options.signal });
  const { blockCount, blockSize } = image.superblock;
  const size = blockCount * blockSize;
  await checkSpace(image, source, size, survey.claims.image, survey, report, options);
  const { metabox } = image.volume;
  if (metabox !== undefined)
    await checkSpace(image, metabox, metabox.size, survey.claims.metabox, survey, report, {
      ...options,
      advance: undefined,
    });
  return findings;
}

async function checkSuperblock({ source, superblock }: ErofsImage, report: Report): Promise<void> {
  if (!(await checksumMatches(source, superblock)))
    report(
      failure("superblock-checksum", "the checksum of the superblock does not match", { offset: SUPERBLOCK_OFFSET }),
    );
  const raw = RawSuperblock.view(await source.read(SUPERBLOCK_OFFSET, RawSuperblock.size));
  if (!isZero(raw.reserved) || !isZero(raw.reserved2))
    report(warning("reserved", "reserved bytes of the superblock are not zero", { offset: SUPERBLOCK_OFFSET }));
  const prefixId = raw.isharePrefixId & ~LONG_PREFIX_BIT;
  if ((superblock.featureCompat & COMPAT.sharedContentXattr) !== 0 && prefixId >= superblock.xattrPrefixCount) {
    const message = `names of shared contents have xattr prefix ${prefixId}, the image has ${superblock.xattrPrefixCount}`;
    report(failure("bad-xattr-prefix", message, { offset: SUPERBLOCK_OFFSET }));
  }
  const at = SUPERBLOCK_OFFSET + RawSuperblock.size;
  if (superblock.metaboxNid !== undefined) {
    const extension = RawSuperblockExtension.view(await source.read(at, RawSuperblockExtension.size));
    if (!isZero(extension.reserved))
      report(warning("reserved", "reserved bytes of the superblock's extension are not zero", { offset: at }));
  }
}

/** Every byte belongs to one thing, or is zero. Data may be shared as a whole. */
async function checkSpace(
  image: ErofsImage,
  source: Source,
  size: number,
  accounts: Accounts,
  survey: Survey,
  report: Report,
  options: CheckErofsOptions,
): Promise<void> {
  const nameOf = (nid: number | undefined): string => survey.nameOf(nid);
  if (accounts.isOverfull)
    report(failure("too-many-extents", "the image has more extents than can be accounted for; those are not checked"));
  const checkCluster = clusterChecker(image.volume, source, nameOf, report);
  const runs = accounts.settle(size, image.superblock.blockSize, ({ first, second }) => {
    const names = [first, second].map(({ kind, nid }) => (nid === undefined ? kind : `${kind} of ${nameOf(nid)}`));
    report(failure("overlap", `${names[1]} overlaps ${names[0]}`, { path: nameOf(second.nid), offset: second.start }));
  });
  for (const run of runs) {
    options.signal?.throwIfAborted();
    if ((run.kind === "free" || run.kind === "slack") && !accounts.isOverfull)
      await checkGap(source, run, survey, report, options.signal);
  }
  let done = 0; // bytes of the space
  if (options.decompress !== false)
    for (const claim of accounts.clusters()) {
      options.signal?.throwIfAborted();
      await checkCluster(claim);
      const end = Math.min(claim.start + claim.size, size);
      if (end > done) options.advance?.(end - done);
      done = Math.max(done, end);
    }
  options.advance?.(size - done);
}

async function checkGap(
  source: Source,
  { start, size, kind, nid }: SpaceRun,
  survey: Survey,
  report: Report,
  signal: AbortSignal | undefined,
): Promise<void> {
  const end = Math.min(start + size, source.size);
  if (end <= start) return;
  try {
    for await (const chunk of chunksOf(sliceSource(source, start, end - start), { signal })) {
      if (isZero(chunk)) continue;
      const what = kind === "slack" ? `behind the data of ${survey.nameOf(nid)}` : "that belong to nothing";
      report(warning("padding", `${size} bytes ${what} are not all zero`, { offset: start }));
      return;
    }
  } catch (error) {
    // What a metabox holds may be broken.
    if (!isAshlarError(error)) throw error;
    report(failure(error.code, error.message, { offset: error.details.offset ?? start }));
  }
}
