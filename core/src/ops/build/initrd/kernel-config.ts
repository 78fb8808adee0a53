/** The configuration that a kernel was built with (`/boot/config-KVER`, `/usr/lib/modules/KVER/config`). */
import { byteString } from "../../../bytes/index.ts";

export interface KernelConfig {
  /** Value of `CONFIG_name`: `y`, `m`, a number or text with its quotes. Undefined where it is not set or not known. */
  get(name: string): string | undefined;
}

const ASSIGNMENT = /^CONFIG_([A-Za-z0-9_]+)=(.*)$/gm;

export function parseKernelConfig(bytes: Uint8Array): KernelConfig {
  const values = new Map<string, string>();
  for (const [, name, value] of byteString(bytes).matchAll(ASSIGNMENT)) values.set(name!, value!); // both groups always take part
  return { get: (name) => values.get(name) };
}

/** zstd where the kernel says that it unpacks it, else gzip, which every kernel has that unpacks anything. */
export function chooseCompression(config: KernelConfig | undefined): "zstd" | "gzip" {
  return config?.get("RD_ZSTD") === "y" ? "zstd" : "gzip";
}
