/** The two sums over a PE image: the old checksum of its header and the Authenticode hash that signatures are about. */
import { FormatError } from "../../errors/index.ts";
import type { HashAlgorithm, Hashes } from "../../hash/index.ts";
import { chunksOf, type ReadOptions, type Source, sliceSource } from "../../source/index.ts";
import { DIRECTORY_CERTIFICATES, RawDataDirectory, RawFileHeader, RawOptionalHeader } from "./format.ts";
import type { PeImage } from "./read.ts";

/** File offset of the checksum field. */
export function checksumOffset({ peOffset }: Pick<PeImage, "peOffset">): number {
  return peOffset + RawFileHeader.size + RawOptionalHeader.fields.checksum.offset;
}

/**
 * CheckSum of the optional header (the function CheckSumMappedFile of imagehlp): the sum of 16-bit words with
 * end-around carry, the field itself taken as zero, plus the file's size. Firmware ignores it, signing tools renew it.
 * @param fieldAt file offset of the field, even
 */
export async function peChecksum(source: Source, fieldAt: number, options: ReadOptions = {}): Promise<number> {
  let sum = 0; // at most 2^31 words of 16 bits: exact
  let position = 0;
  for await (const chunk of chunksOf(source, options)) {
    // Chunks have an even size but the last, whose missing byte counts as zero.
    for (let i = 0; i < chunk.length; i += 2) sum += chunk[i]! + 256 * (chunk[i + 1] ?? 0);
    for (const at of [fieldAt, fieldAt + 1, fieldAt + 2, fieldAt + 3])
      if (at >= position && at < position + chunk.length) sum -= chunk[at - position]! * (at % 2 === 0 ? 1 : 256);
    position += chunk.length;
  }
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return (sum + source.size) % 2 ** 32;
}

/**
 * The Authenticode hash ("Windows Authenticode Portable Executable Signature Format", 2008; UEFI 2.10, 32.5): all but
 * the checksum, the entry of the certificate table and that table. It is what a Secure Boot signature signs and what
 * firmware measures into PCR 4.
 *
 * Sections are hashed in the order of their file offsets, then what is left up to the certificate table. Throws
 * FormatError `authenticode` where sections overlap or leave gaps: tools disagree about the bytes in between.
 */
export async function authenticodeDigest(
  image: PeImage,
  hashes: Hashes,
  algorithm: HashAlgorithm = "sha256",
  options: ReadOptions = {},
): Promise<Uint8Array> {
  const { source, optionalHeader, sections, directories } = image;
  const certificates = directories[DIRECTORY_CERTIFICATES];
  const isSigned = certificates !== undefined && certificates.size > 0;
  const end = isSigned ? certificates.address : source.size;
  let position = optionalHeader.headersSize;
  for (const { name, rawOffset, rawSize } of sections.toSorted((a, b) => a.rawOffset - b.rawOffset)) {
    if (rawSize === 0) continue;
    if (rawOffset !== position)
      throw new FormatError(
        "authenticode",
        `PE section ${name} is at ${rawOffset}, the one before it ends at ${position}`,
        {
          offset: rawOffset,
        },
      );
    position += rawSize;
  }
  if (position > end)
    throw new FormatError("authenticode", `PE sections end at ${position}, the certificate table is at ${end}`);
  if (isSigned && certificates.address + certificates.size !== source.size)
    throw new FormatError("authenticode", "PE certificate table is not at the end of the file", {
      offset: certificates.address,
    });
  const hasher = hashes.create(algorithm);
  const add = async (from: number, to: number): Promise<void> => {
    for await (const chunk of chunksOf(sliceSource(source, from, to - from), options)) hasher.update(chunk);
  };
  const checksumAt = checksumOffset(image);
  const entryAt =
    image.peOffset + RawFileHeader.size + RawOptionalHeader.size + DIRECTORY_CERTIFICATES * RawDataDirectory.size;
  await add(0, checksumAt);
  if (directories.length > DIRECTORY_CERTIFICATES) {
    await add(checksumAt + 4, entryAt);
    await add(entryAt + RawDataDirectory.size, end);
  } else await add(checksumAt + 4, end);
  // Signing pads the file to 8 bytes first and the padding is signed with it.
  hasher.update(new Uint8Array((8 - (end % 8)) % 8));
  return hasher.digest();
}
