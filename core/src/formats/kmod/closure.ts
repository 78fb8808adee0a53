/** Which modules come along with the wanted ones. */
import type { ByteString } from "../../bytes/index.ts";
import { type Module, type ModuleAlias, moduleName, normaliseAlias, normaliseName } from "./text.ts";

/** What depmod says about one kernel. */
export interface ModuleSet {
  readonly modules: ReadonlyMap<ByteString, Module>;
  readonly builtin: ReadonlySet<ByteString>;
  readonly aliases: readonly ModuleAlias[];
  /** From {@link parseModulesSoftdep}. */
  readonly wishes: ReadonlyMap<ByteString, readonly ByteString[]>;
}

export interface Closure {
  /** In the order of modules.dep. */
  readonly modules: readonly Module[];
  /** Wanted names that are neither a module nor built in nor an alias, as they were given. */
  readonly missing: readonly string[];
}

/**
 * The wanted modules with all that they depend on, and with what they wish for as far as it is there. A wanted name may be
 * an alias without wildcards (`crypto-sha256`): then every module that answers to it comes along.
 */
export function closeModules(set: ModuleSet, wanted: Iterable<string>): Closure {
  const byAlias = new Map<ByteString, ByteString[]>();
  for (const { pattern, module } of set.aliases) {
    const key = normaliseAlias(pattern);
    const list = byAlias.get(key);
    if (list === undefined) byAlias.set(key, [module]);
    else list.push(module);
  }
  const taken = new Map<ByteString, Module>();
  const answered = new Set<ByteString>(); // aliases, each of which is looked up once
  const missing: string[] = [];
  const pending: { readonly name: string; readonly wished: boolean }[] = [...wanted]
    .reverse()
    .map((name) => ({ name, wished: false }));
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const name = normaliseName(next.name);
    if (taken.has(name)) continue;
    const module = set.modules.get(name);
    if (module !== undefined) {
      taken.set(name, module);
      for (const path of module.depends) pending.push({ name: moduleName(path), wished: false });
      for (const wish of set.wishes.get(name) ?? []) pending.push({ name: wish, wished: true });
    } else if (!set.builtin.has(name)) {
      const answering = byAlias.get(name) ?? [];
      if (!answered.has(name))
        for (const answer of answering) if (set.modules.has(answer)) pending.push({ name: answer, wished: true });
      answered.add(name);
      if (answering.length === 0 && !next.wished) missing.push(next.name);
    }
  }
  return { modules: [...taken.values()].sort((a, b) => a.priority - b.priority), missing };
}
