// A row of a table of faults: what is done to a client, and what must come of it.
import assert from "node:assert/strict";

import { isAshlarError } from "../../core/src/errors/index.ts";
import type { Fault, FaultFilter, RegistryProxy } from "../support/registry-proxy.ts";
import type { HurriedOptions } from "../support/registry-repository.ts";

/** A retry that succeeds, or an error of this class with this code. */
export type Outcome = "succeeds" | readonly [kind: string, code: string | RegExp];

export interface Row {
  readonly title: string;
  /** A new one for each run, since some count. */
  readonly fault: () => Fault;
  readonly filter?: FaultFilter;
  /** How often the fault must have been played at least; 1 when absent. */
  readonly hits?: number;
  readonly outcome: Outcome;
  readonly options?: HurriedOptions;
  /** More that must hold afterwards. */
  readonly holds?: (proxy: RegistryProxy, waits: readonly number[]) => void;
}

/** Runs `work`; its result where it is to succeed, else undefined. */
export async function expectOutcome<T>(outcome: Outcome, work: () => Promise<T>): Promise<T | undefined> {
  if (outcome === "succeeds") return work();
  const [kind, code] = outcome;
  await assert.rejects(work(), (error) => {
    assert.ok(isAshlarError(error), String(error instanceof Error ? error.stack : error));
    const isCode = typeof code === "string" ? error.code === code : code.test(error.code);
    assert.ok(error.kind === kind && isCode, `${error.kind} ${error.code}: ${error.message}`);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  });
  return undefined;
}

/** Plays `fault` for the first requests to each address; all sessions of uploads are one. */
export function firstOfEach(times: number, fault: Fault): Fault {
  const seen = new Map<string, number>();
  return async (call) => {
    const address = `${call.exchange.method} ${call.exchange.path.replace(/\?.*|(?<=\/uploads\/).*/, "")}`;
    const count = seen.get(address) ?? 0;
    seen.set(address, count + 1);
    return count < times ? fault(call) : call.answer(await call.ask());
  };
}
