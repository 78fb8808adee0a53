/** Registries as the flags want them. */
import type { Registries, RegistriesOptions } from "@ashlar/core/node/registry";
import type { HostRegistries } from "@ashlar/core/ops/image";
import type { CacheFlags, RegistryFlags } from "../commands/flags.ts";

/** What the flags say of registries. */
export function registryOptions(flags: RegistryFlags & Partial<CacheFlags>): RegistriesOptions {
  const { authfile, tlsVerify, retryTimes, cache } = flags;
  return { authFile: authfile, tlsVerify, retryTimes, cache };
}

/** For what may come from a registry. Their code is loaded when something does: 50 ms that most runs do without. */
export function inputRegistries(flags: RegistryFlags & Partial<CacheFlags>): HostRegistries {
  let opened: Promise<Registries> | undefined;
  return {
    async open(name) {
      opened ??= import("@ashlar/core/node/registry").then(({ openRegistries }) =>
        openRegistries(registryOptions(flags)),
      );
      return (await opened).open(name);
    },
  };
}
