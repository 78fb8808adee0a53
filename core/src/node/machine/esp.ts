/** The ESP of the disk that this machine runs from: where it is mounted, or mounted for a while, and its files. */
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readdir, rename, rmdir, stat, statfs, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { SinkError, SourceError } from "../../errors/index.ts";
import type { OpenedEspFiles } from "../../ops/machine/index.ts";
import type { EspFiles } from "../../ops/update/index.ts";
import { passingChunksOf, sliceSource } from "../../source/index.ts";
import { type Mount, readMounts } from "../block-devices.ts";
import { readFailure, writeFailure } from "../errors.ts";
import { makeDirectories, openFile, writeAll } from "../files.ts";
import { loadSyncFileSystem } from "../native.ts";
import { checkVolume, type EspHealth, mendVolume } from "./esp-volume.ts";

export interface OpenedEsp extends OpenedEspFiles {
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where systemd mounts an ESP when somebody looks, and where it is mounted here when nobody else does. */
const AUTOMOUNTS = ["/efi", "/boot", "/boot/efi"];
const OWN_PLACES = "/run/ashlar/esp";
/** Where nothing was looked at. */
const NO_DAMAGE: EspHealth = { mended: [], unmended: [], damaged: [], lost: 0 };
/** Milliseconds that mount and umount may take. */
const MOUNT_LIMIT = 60_000;

/** Not those of other runs, which end with them. */
async function findMount(numbers: string): Promise<Mount | undefined> {
  const mounts = (await readMounts()).filter(
    (mount) => mount.numbers === numbers && mount.root === "/" && !mount.place.startsWith(`${OWN_PLACES}/`),
  );
  return mounts.find(({ options }) => options.includes("rw")) ?? mounts[0];
}

/** To look into a place with an automount makes systemd mount what belongs there. */
async function wakeAutomounts(): Promise<void> {
  const mounts = await readMounts();
  for (const place of AUTOMOUNTS)
    if (mounts.some((mount) => mount.place === place && mount.type === "autofs"))
      await readdir(place).catch(() => undefined); // what is there may be another disk's, or damaged
}

async function run(program: string, ...words: string[]): Promise<void> {
  await promisify(execFile)(program, words, { timeout: MOUNT_LIMIT }).catch((error: unknown) => {
    const said = (error as { stderr?: string }).stderr?.trim().split("\n").at(-1);
    throw new SourceError("esp-mount", `${words.at(-1)}: ${program} failed: ${said || (error as Error).message}`, {
      cause: error,
    });
  });
}

/** Whether it is mounted no longer: where an automount stands it comes back when it is wanted, so nobody misses it. */
async function unmountIdle({ place }: Mount): Promise<boolean> {
  const isAutomount = (await readMounts()).some((mount) => mount.place === place && mount.type === "autofs");
  if (!isAutomount) return false;
  return run("umount", place).then(
    () => true,
    () => false, // somebody uses it
  );
}

/** Of runs that were killed; they are named by their processes. */
async function removeOldPlaces(): Promise<void> {
  for (const name of await readdir(OWN_PLACES).catch(() => [])) {
    if (await stat(`/proc/${name}`).catch(() => undefined)) continue;
    const place = join(OWN_PLACES, name);
    if ((await readMounts()).some((mount) => mount.place === place)) await run("umount", place).catch(() => undefined);
    await rmdir(place).catch(() => undefined);
  }
}

/**
 * Opens the volume for reading and writing. Throws SourceError `esp-mount`; what looking at the volume throws.
 * @param partition its device node @param numbers of it, such as `8:1` @param mend where nobody uses it; the machine is locked then
 */
export async function openEsp(
  partition: string,
  numbers: string,
  { mend }: { readonly mend: boolean },
): Promise<OpenedEsp> {
  if (mend) await removeOldPlaces();
  let mount = await findMount(numbers);
  let health: EspHealth | undefined = mend && mount === undefined ? undefined : await checkVolume(partition);
  const isSound = health === undefined || health.unmended.length + health.lost === 0;
  if (mend && mount !== undefined && !isSound && (await unmountIdle(mount))) mount = undefined;
  if (mend && mount === undefined) health = await mendVolume(partition);
  if (mount === undefined) {
    await wakeAutomounts();
    mount = await findMount(numbers);
  }
  const { lost: _, ...found } = health ?? NO_DAMAGE;
  const state = (options: readonly string[]) => ({ ...found, readOnly: !options.includes("rw") });
  if (mount !== undefined) return espAt(mount.place, state(mount.options), async () => {});
  const place = join(OWN_PLACES, String(process.pid)); // of two runs each has its own, which nobody takes from it
  try {
    await makeDirectories(dirname(OWN_PLACES)); // others look into that one
    for (const folder of [OWN_PLACES, place])
      await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      });
  } catch (error) {
    throw writeFailure(place, error);
  }
  await run("mount", "-t", "vfat", "-o", "rw,nosuid,nodev,noexec,umask=0077", partition, place);
  const options = (await readMounts()).findLast((one) => one.place === place)?.options ?? [];
  const release = async (): Promise<void> => {
    await run("umount", place).catch(() => run("umount", "-l", place)); // lazily, where somebody looks at it just now
    await rmdir(place).catch(() => undefined);
  };
  return espAt(place, state(options), release);
}

/** The volume that is mounted at `place`. @param release called when it is closed */
export async function espAt(
  place: string,
  state: Pick<OpenedEspFiles, "readOnly" | "mended" | "unmended" | "damaged">,
  release: () => Promise<void>,
): Promise<OpenedEsp> {
  // Kept open, so that an automount does not go away meanwhile.
  const folder = await open(place, "r").catch((error: unknown) => {
    throw readFailure(place, error);
  });
  const close = async () => {
    await folder.close();
    await release();
  };
  return { ...espFiles(place, folder), ...state, close, [Symbol.asyncDispose]: close };
}

function espFiles(place: string, folder: FileHandle): EspFiles {
  async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw writeFailure(path, error);
    }
  }
  return {
    name: place,
    async list(path) {
      const at = join(place, path);
      try {
        const found = await readdir(at, { withFileTypes: true });
        const files = found.filter((entry) => entry.isFile());
        return await Promise.all(files.map(async ({ name }) => ({ name, size: (await lstat(join(at, name))).size })));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw readFailure(at, error);
      }
    },
    open: (path) => openFile(join(place, path), { followLink: false }),
    async write(path, content, { from = 0, signal, onProgress } = {}) {
      const at = join(place, path);
      await writing(at, async () => {
        await makeDirectories(dirname(at));
        const handle = await open(at, from === 0 ? "w" : "r+", 0o600);
        try {
          await handle.truncate(from);
          let offset = from;
          for await (const chunk of passingChunksOf(sliceSource(content, from), { signal })) {
            await writeAll(handle, at, offset, chunk);
            offset += chunk.length;
            onProgress?.(chunk.length);
          }
          await handle.sync();
        } finally {
          await handle.close();
        }
      });
    },
    async overwrite(path, offset, bytes) {
      const at = join(place, path);
      await writing(at, async () => {
        const handle = await open(at, constants.O_WRONLY | constants.O_NOFOLLOW);
        try {
          await writeAll(handle, at, offset, bytes);
          await handle.sync();
        } finally {
          await handle.close();
        }
      });
    },
    async rename(from, to) {
      const [source, target] = [join(place, from), join(place, to)];
      const isOther = from.toLowerCase() !== to.toLowerCase();
      if (isOther && (await lstat(target).catch(() => undefined)) !== undefined)
        throw new SinkError("exists", `${target}: exists already`, { path: target });
      await writing(target, () => rename(source, target));
    },
    async remove(path) {
      const at = join(place, path);
      try {
        await unlink(at);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") throw readFailure(at, error);
        throw writeFailure(at, error);
      }
    },
    async flush() {
      const errno = loadSyncFileSystem()?.(folder.fd);
      if (errno === undefined) await run("sync", "-f", place);
      else if (errno !== 0)
        throw new SinkError("io-error", `${place}: what was written is not on the disk (errno ${errno})`, {
          path: place,
        });
    },
    async free() {
      try {
        const { bavail, bsize } = await statfs(place);
        return bavail * bsize;
      } catch (error) {
        throw readFailure(place, error);
      }
    },
  };
}
