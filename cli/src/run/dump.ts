import { SourceError } from "@ashlar/core/errors";
import {
  type ByteRun,
  dumpInode,
  dumpInodes,
  dumpSpace,
  dumpSuperblock,
  type ErofsImage,
  type InodeDump,
  openErofs,
  type SpaceDump,
} from "@ashlar/core/formats/erofs";
import { nativeDecompressor } from "@ashlar/core/node";
import type { DumpFlags } from "../commands/erofs.ts";
import { inodeLines, runLine, spaceLines, superblockLines } from "../output/erofs.ts";
import { findingLine, withDevices } from "./fsck.ts";
import { withRootSource } from "./images.ts";
import { inSession, type Session } from "./session.ts";

export const DUMP_SCHEMA = "ashlar.dump/v1";

async function* chosenInodes(image: ErofsImage, flags: DumpFlags, word: string): AsyncGenerator<InodeDump> {
  const { path, nid } = flags;
  if (path !== undefined) {
    const inode = await image.lookup(path);
    if (inode === undefined)
      throw new SourceError("not-found", `${word}: ${path}: no such file or directory`, { path });
    yield await dumpInode(image, inode, path);
  }
  if (nid !== undefined) yield await dumpInode(image, await image.inode(nid), `inode ${nid}`);
  if (flags.inodes) yield* dumpInodes(image);
}

async function dumpJson(image: ErofsImage, flags: DumpFlags, word: string, session: Session): Promise<void> {
  const inodes: InodeDump[] = [];
  for await (const inode of chosenInodes(image, flags, word)) inodes.push(inode);
  const bytes: ByteRun[] = [];
  const isOne = flags.path !== undefined || flags.nid !== undefined;
  const space = isOne && !flags.bytes ? undefined : await dumpSpace(image, spaceOptions(flags, session, bytes));
  session.printJson({
    schema: DUMP_SCHEMA,
    image: word,
    superblock: dumpSuperblock(image),
    ...space,
    ...(isOne || flags.inodes ? { inodes } : {}),
    ...(flags.bytes ? { bytes } : {}),
  });
}

function spaceOptions({ bytes }: DumpFlags, { signal }: Session, runs: ByteRun[]) {
  return bytes ? { signal, onRun: (run: ByteRun) => void runs.push(run) } : { signal };
}

async function dumpText(image: ErofsImage, flags: DumpFlags, word: string, session: Session): Promise<void> {
  const isOne = flags.path !== undefined || flags.nid !== undefined;
  if (!isOne) for (const line of superblockLines(dumpSuperblock(image))) session.print(line);
  for await (const inode of chosenInodes(image, flags, word)) for (const line of inodeLines(inode)) session.print(line);
  if (isOne && !flags.bytes) return;
  const options = flags.bytes ? { onRun: (run: ByteRun) => session.print(runLine(run)) } : {};
  const space: SpaceDump = await dumpSpace(image, { signal: session.signal, ...options });
  for (const line of spaceLines(space, image.superblock)) session.print(line);
  for (const problem of space.problems) if (problem.severity === "error") session.print(findingLine(problem));
}

export function runDump(flags: DumpFlags, word: string): Promise<void> {
  return inSession(flags, (session) =>
    withDevices(flags.device, (devices) =>
      withRootSource(word, flags, session, async ({ source }) => {
        const image = await openErofs(source, { devices, decompressor: nativeDecompressor() });
        await (flags.json ? dumpJson : dumpText)(image, flags, word, session);
      }),
    ),
  );
}
