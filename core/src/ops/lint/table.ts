/** All lints, in the order in which they are listed and their findings come: what keeps an image from booting first. */
import { ACCOUNT_LINTS } from "./accounts.ts";
import { CONTAINER_LINTS } from "./container.ts";
import type { Lint } from "./finding.ts";
import { LEFTOVER_LINTS } from "./leftovers.ts";
import { MACHINE_LINTS } from "./machine.ts";
import { PYTHON_LINTS } from "./python.ts";
import { TIME_LINTS } from "./times.ts";

const ALL: readonly Lint[] = [
  ...MACHINE_LINTS,
  ...CONTAINER_LINTS,
  ...ACCOUNT_LINTS,
  ...LEFTOVER_LINTS,
  ...PYTHON_LINTS,
  ...TIME_LINTS,
];

export const LINTS: readonly Lint[] = [
  ...ALL.filter(({ severity }) => severity === "fatal"),
  ...ALL.filter(({ severity }) => severity === "warning"),
];

/** The names of lints that someone who wrote `name` may have meant, the closest first. */
export function closeLints(name: string): string[] {
  const wanted = name.toLowerCase().slice(0, 64);
  return LINTS.map((lint) => ({ name: lint.name, distance: distanceOf(wanted, lint.name) }))
    .filter(({ name: known, distance }) => distance <= Math.max(2, known.length / 3))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map((close) => close.name);
}

/** Levenshtein's; parts of a name count as near. */
function distanceOf(a: string, b: string): number {
  if (a.length >= 3 && b.includes(a)) return 1;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1); // j is within both rows
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!; // the row has b.length + 1 entries
}
