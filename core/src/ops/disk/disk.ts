/** Opens a disk as a machine would: partition table, ESP, the UKIs on it, and the sealed pair that each one names. */
import { type ByteString, decodeUtf8, fromHex, showBytes, trimEndOf } from "../../bytes/index.ts";
import { FormatError, IntegrityError } from "../../errors/index.ts";
import { openFat } from "../../formats/fat/index.ts";
import {
  designatorOf,
  type Gpt,
  type GptPartitionEntry,
  openGpt,
  partitionUuidsFromRootHash,
} from "../../formats/gpt/index.ts";
import { findSection, openPe, type PeImage } from "../../formats/pe/index.ts";
import { type ReadOptions, readAll, type Source, sliceSource } from "../../source/index.ts";
import { resolvePath, sortedEntries } from "../../tree/index.ts";

const UKI_DIRECTORY = "EFI/Linux";
/** Bytes of a command line or os-release section; the kernel takes 2 KiB. */
const MAX_TEXT_SECTION = 64 * 1024;
/** UKIs on one ESP that are looked at. */
const MAX_UKIS = 64;

export interface UkiFacts {
  readonly image: PeImage;
  readonly commandLine: string;
  readonly osRelease: Uint8Array;
  /** From `roothash=`; undefined for a UKI that boots something else. */
  readonly rootHash: Uint8Array | undefined;
}

export interface DiskUki extends UkiFacts {
  /** On the ESP, such as `EFI/Linux/my-os_1.efi`. */
  readonly path: string;
  readonly content: Source;
}

export interface SealedPair {
  readonly root: GptPartitionEntry;
  readonly verity: GptPartitionEntry;
}

export interface Disk {
  readonly source: Source;
  readonly gpt: Gpt;
  readonly esp: GptPartitionEntry;
  /** By path in byte order. */
  readonly ukis: readonly DiskUki[];
}

/** Reads what a UKI says about the system it boots. Throws FormatError `not-a-uki` where a section is missing. */
export async function readUki(source: Source, what: string, options: ReadOptions = {}): Promise<UkiFacts> {
  const image = await openPe(source, options);
  async function textOf(name: string): Promise<Uint8Array> {
    const section = findSection(image, name);
    if (section === undefined) throw new FormatError("not-a-uki", `${what}: has no section ${name}`, { path: what });
    return readAll(section.content, MAX_TEXT_SECTION, `${what} ${name}`);
  }
  const commandLine = trimEndOf(decodeUtf8(await textOf(".cmdline")), "\0");
  return { image, commandLine, osRelease: await textOf(".osrel"), rootHash: rootHashOf(commandLine, what) };
}

/** `roothash=` of a command line; the last one counts, as for systemd. */
function rootHashOf(commandLine: string, what: string): Uint8Array | undefined {
  const text = commandLine
    .split(/\s+/)
    .filter((word) => word.startsWith("roothash="))
    .at(-1)
    ?.slice("roothash=".length);
  if (text === undefined) return undefined;
  if (!/^([0-9a-fA-F]{2}){32,64}$/.test(text))
    throw new FormatError("bad-root-hash", `${what}: roothash= is not a digest`, { path: what });
  return fromHex(text);
}

export function partitionSource(source: Source, { start, size }: GptPartitionEntry): Source {
  return sliceSource(source, start, size);
}

/** Throws FormatError `not-gpt`, `no-esp`, and what the formats throw. */
export async function openDisk(source: Source, options: ReadOptions = {}): Promise<Disk> {
  const gpt = await openGpt(source, options);
  const esp = gpt.partitions.find(({ typeGuid }) => designatorOf(typeGuid)?.designator === "esp");
  if (esp === undefined) throw new FormatError("no-esp", "the disk has no EFI system partition");
  const volume = await openFat(partitionSource(source, esp), options);
  const folder = resolvePath(volume.root, UKI_DIRECTORY)?.node;
  const ukis: DiskUki[] = [];
  for (const [name, node] of folder?.type === "directory" ? sortedEntries(folder) : []) {
    if (node.type !== "file" || !/\.efi$/i.test(name)) continue;
    if (ukis.length === MAX_UKIS) throw new FormatError("too-many-ukis", `the ESP has more than ${MAX_UKIS} UKIs`);
    const path = `${UKI_DIRECTORY}/${showBytes(name as ByteString)}`;
    ukis.push({ path, content: node.content, ...(await readUki(node.content, path, options)) });
  }
  return { source, gpt, esp, ukis };
}

/** The partitions that a root hash names. Throws IntegrityError `no-sealed-pair` where one is missing. */
export function findSealedPair(gpt: Gpt, rootHash: Uint8Array): SealedPair {
  const wanted = partitionUuidsFromRootHash(rootHash);
  function find(uuid: string, what: string): GptPartitionEntry {
    const found = gpt.partitions.find(({ partitionGuid }) => partitionGuid === uuid);
    if (found === undefined)
      throw new IntegrityError(
        "no-sealed-pair",
        `no ${what} partition ${uuid} on the disk, as the root hash names it`,
        {
          expected: uuid,
        },
      );
    return found;
  }
  return { root: find(wanted.root, "root"), verity: find(wanted.verity, "root-verity") };
}
