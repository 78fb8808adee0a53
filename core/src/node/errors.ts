/** Node's system errors in the words of our classes: one line, the path in front, the original as cause. */
import { isAshlarError, SinkError, SourceError } from "../errors/index.ts";

/** @codes SourceError SinkError */
const MEANINGS: Readonly<Record<string, readonly [code: string, meaning: string]>> = {
  ENOENT: ["not-found", "no such file or directory"],
  EACCES: ["no-permission", "permission denied"],
  EPERM: ["no-permission", "operation not permitted"],
  EROFS: ["read-only", "the file system is read-only"],
  EISDIR: ["is-a-directory", "is a directory"],
  ENOTDIR: ["not-a-directory", "a part of the path is not a directory"],
  EEXIST: ["exists", "exists already"],
  ENOSPC: ["no-space", "no space left on the device"],
  EDQUOT: ["no-space", "the disk quota is used up"],
  EFBIG: ["no-space", "the file is larger than the file system or a limit allows"],
  EMFILE: ["too-many-files", "too many open files"],
  ELOOP: ["link", "is a symbolic link, or links go round"],
  ENAMETOOLONG: ["name-too-long", "the name is longer than the file system allows"],
  EBUSY: ["busy", "is in use"],
  ENXIO: ["not-a-file", "is not a regular file"],
  EIO: ["io-error", "input/output error"],
};

function describe(error: unknown): readonly [code: string, meaning: string] {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return MEANINGS[code ?? ""] ?? ["io-error", (error as Error).message];
}

/** What to throw when reading `path` failed with `error`. Our own errors pass as they are. */
export function readFailure(path: string, error: unknown): Error {
  if (isAshlarError(error)) return error;
  const [code, meaning] = describe(error);
  return new SourceError(code, `${path || '""'}: ${meaning}`, { path, cause: error });
}

/** What to throw when writing `path` failed with `error`. Our own errors pass as they are. */
export function writeFailure(path: string, error: unknown): Error {
  if (isAshlarError(error)) return error;
  const [code, meaning] = describe(error);
  return new SinkError(code, `${path}: ${meaning}`, { path, cause: error });
}
