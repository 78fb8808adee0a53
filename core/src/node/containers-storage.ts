/** Images that podman and buildah keep, by asking one of their own tools for them. */
import { spawn } from "node:child_process";
import { access, constants, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { SourceError, UnsupportedError } from "../errors/index.ts";
import type { ExportedImage } from "../ops/image/index.ts";

/** Characters of what a tool complains that are kept. */
const MAX_COMPLAINT = 4000;

interface Tool {
  readonly program: string;
  args(name: string, directory: string): string[];
  readonly transport: "oci" | "oci-archive";
  readonly file: string;
}

const TOOLS: readonly Tool[] = [
  {
    program: "skopeo",
    // Layers are stored uncompressed and would best stay so; but skopeo 1.9 (Debian 12) then calls them gzip, which they are
    // not. Light zstd costs the least of what every version gets right.
    args: (name, directory) => [
      "copy",
      "--quiet",
      "--dest-compress-format=zstd",
      "--dest-compress-level=1",
      `containers-storage:${name}`,
      `oci:${join(directory, "image")}:latest`,
    ],
    transport: "oci",
    file: "image",
  },
  {
    program: "podman",
    args: (name, directory) => [
      "save",
      "--quiet",
      "--format=oci-archive",
      `--output=${join(directory, "image.tar")}`,
      name,
    ],
    transport: "oci-archive",
    file: "image.tar",
  },
];

async function isInPath(program: string): Promise<boolean> {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    if (folder === "") continue;
    const found = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}

/**
 * Has skopeo, else podman, write the image into a temporary directory below `temporary`. Errors: UnsupportedError
 * `no-container-tool`; SourceError `containers-storage` with what the program said.
 */
export async function exportContainerImage(
  name: string,
  { signal, temporary = tmpdir() }: { readonly signal?: AbortSignal | undefined; readonly temporary?: string } = {},
): Promise<ExportedImage> {
  if (name.startsWith("-"))
    throw new SourceError("containers-storage", `containers-storage:${name}: not the name of an image`);
  for (const tool of TOOLS) {
    if (!(await isInPath(tool.program))) continue;
    const directory = await mkdtemp(join(temporary, ".ashlar-image-"));
    const dispose = () => rm(directory, { recursive: true, force: true });
    try {
      await run(tool.program, tool.args(name, directory), `containers-storage:${name}`, signal);
    } catch (error) {
      await dispose();
      throw error;
    }
    return { reference: { transport: tool.transport, path: join(directory, tool.file) }, dispose };
  }
  throw new UnsupportedError(
    "no-container-tool",
    `containers-storage:${name}: needs ${TOOLS.map(({ program }) => program).join(" or ")}, neither is in PATH`,
  );
}

async function run(program: string, args: readonly string[], what: string, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  const stop = (): void => {
    child.kill();
  };
  signal?.addEventListener("abort", stop, { once: true });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-MAX_COMPLAINT);
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  }).finally(() => signal?.removeEventListener("abort", stop));
  signal?.throwIfAborted();
  if (status === 0) return;
  const said = complaint.trim().split("\n").at(-1)?.slice(0, 500) || `exit code ${status}`;
  throw new SourceError("containers-storage", `${what}: ${program}: ${said}`);
}
