/** What `reproduce` says. */
import type { Reproduction } from "@ashlar/core/ops/reproduce";

export function reproductionLines(word: string, { identical, inputs, artifacts, differences }: Reproduction): string[] {
  return [
    ...inputs.map(({ name, expected, actual }) => {
      if (expected === actual) return `same    ${name}: ${actual}`;
      return `OTHER   ${name}: built from ${actual ?? "something without a digest"}, the release names ${expected ?? "none"}`;
    }),
    ...artifacts.map(({ role, expected, actual }) => {
      if (expected === actual) return `same    ${role}: ${expected}`;
      return `DIFFERS ${role}: ${actual ?? "not built"}, the release has ${expected}`;
    }),
    ...differences.map(({ artifact, place, message }) => `${artifact}${place === null ? "" : ` ${place}`}: ${message}`),
    `${word}: ${identical ? "identical" : "not identical"}`,
  ];
}
