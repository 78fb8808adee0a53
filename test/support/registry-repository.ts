// Our client in this process, with a clock that tests set: waiting costs nothing and is written down.
import { setImmediate } from "node:timers/promises";

import type { Repository } from "../../core/src/formats/oci/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { createTransport } from "../../core/src/node/registry/transport.ts";
import { openRegistryRepository, type Timing } from "../../core/src/ops/registry/index.ts";
import { PASSWORD, USER } from "./registry.ts";

export interface HurriedRepository {
  readonly repository: Repository;
  /** Milliseconds that it would have slept, in order. */
  readonly waits: readonly number[];
  close(): void;
}

export interface HurriedOptions {
  readonly retryTimes?: number;
  /** Whether it knows name and password of our registries. */
  readonly login?: boolean;
  /** How many times faster than ours its clock goes; 1 when absent. */
  readonly speed?: number;
}

export function hurriedRepository(host: string, repository: string, options: HurriedOptions = {}): HurriedRepository {
  const { speed = 1, login = false, retryTimes } = options;
  const waits: number[] = [];
  const timing: Timing = {
    now: () => performance.now() * speed,
    date: () => Date.now(),
    random: () => 0.5,
    async sleep(milliseconds, signal) {
      waits.push(milliseconds);
      await setImmediate();
      signal?.throwIfAborted();
    },
  };
  const transport = createTransport({ tlsOptions: async () => ({}), proxyFor: () => undefined, userAgent: "ashlar" });
  const credentials = async () => (login ? { username: USER, password: PASSWORD } : undefined);
  return {
    repository: openRegistryRepository(
      { host, repository, insecure: true, retryTimes, credentials },
      { transport, timing, hashes: nodeHashes },
    ),
    waits,
    close: () => transport.close(),
  };
}
