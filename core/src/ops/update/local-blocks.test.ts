import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SourceError } from "../../errors/index.ts";
import { inlineBlockHasher, pureHashes } from "../../hash/index.ts";
import { bytesSource, type Source } from "../../source/index.ts";
import type { Device } from "./device.ts";
import { copyLocalBlocks, firstWrongBlock, surveyRunning, surveyTarget, type Target } from "./local-blocks.ts";
import type { SlotRoot } from "./slot-root.ts";

const BLOCK = 512;
const parameters = {
  algorithm: "sha256",
  dataBlockSize: BLOCK,
  hashBlockSize: BLOCK,
  salt: new Uint8Array(2),
} as const;
const hash = { algorithm: "sha256", blockSize: BLOCK, salt: parameters.salt } as const;
const blockHasher = inlineBlockHasher(pureHashes);
const environment = { blockHasher };

/** Blocks by their kinds: two of one kind are the same. */
function blocksOf(kinds: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(kinds.length * BLOCK);
  for (const [i, kind] of kinds.entries()) bytes.fill(kind, i * BLOCK, (i + 1) * BLOCK);
  return bytes;
}

function deviceOf(bytes: Uint8Array): Device {
  return {
    ...bytesSource(bytes),
    name: "disk",
    sectorSize: 512,
    read: async (offset, length) => bytes.slice(offset, offset + length),
    writeAt: async (offset, part) => bytes.set(part, offset),
    flush: async () => {},
    dropCache: async () => true,
  };
}

async function slotOf(kinds: readonly number[], { lies = [], bad = [] }: { lies?: number[]; bad?: number[] } = {}) {
  const bytes = blocksOf(kinds);
  const leaves = await blockHasher.hashBlocks(bytes, hash);
  for (const block of lies) bytes[block * BLOCK] = bytes[block * BLOCK]! ^ 0xff;
  const data: Source = {
    size: bytes.length,
    async read(offset, length) {
      if (bad.some((block) => offset < (block + 1) * BLOCK && offset + length > block * BLOCK))
        throw new SourceError("io-error", "disk: input/output error");
      return bytes.slice(offset, offset + length);
    },
  };
  const root: SlotRoot = { data, leaves: bytesSource(leaves), blocks: kinds.length, hasSameHash: () => true };
  return root;
}

const kinds = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 24 });

test("whatever the slots hold, and wherever, no block is missing that one of them has", async () => {
  await fc.assert(
    fc.asyncProperty(
      kinds,
      kinds,
      fc.option(kinds, { nil: undefined }),
      fc.boolean(),
      async (wanted, old, runs, same) => {
        const size = Math.max(wanted.length, old.length) * BLOCK;
        const bytes = new Uint8Array(size);
        bytes.set(blocksOf(old));
        const device = deviceOf(bytes);
        const leaves = await blockHasher.hashBlocks(blocksOf(wanted), hash);
        const target: Target = { device, start: 0, size, parameters, leaves };
        const running = runs && { ...(await slotOf(runs)), hasSameHash: () => same };
        const survey = await surveyTarget(target, old.length, environment);
        if (running !== undefined) await surveyRunning(survey, target, running, environment);
        await copyLocalBlocks(survey, target, running, environment);
        const has = new Set([...old, ...(runs ?? [])]);
        for (const [block, kind] of wanted.entries()) {
          assert.equal(survey.there[block], has.has(kind) ? 1 : 0, `block ${block}`);
          if (survey.there[block] === 1) assert.equal(bytes[block * BLOCK], kind);
        }
        const isThere = [...survey.there].filter((one) => one === 1).length;
        assert.equal(survey.kept + survey.copied, isThere);
        assert.equal((await firstWrongBlock(target, environment)) === undefined, isThere === wanted.length);
      },
    ),
    { numRuns: 400 },
  );
});

test("a running slot that lies or fails gives nothing wrong", async () => {
  const places = fc.array(fc.nat(23), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(kinds, kinds, places, places, async (wanted, runs, lies, bad) => {
      const bytes = new Uint8Array(wanted.length * BLOCK);
      const device = deviceOf(bytes);
      const leaves = await blockHasher.hashBlocks(blocksOf(wanted), hash);
      const target: Target = { device, start: 0, size: bytes.length, parameters, leaves };
      const running = await slotOf(runs, { lies: lies.filter((at) => at < runs.length), bad });
      const survey = await surveyTarget(target, 0, environment);
      await surveyRunning(survey, target, running, environment);
      await copyLocalBlocks(survey, target, running, environment);
      for (const [block, kind] of wanted.entries())
        if (survey.there[block] === 1)
          assert.ok(bytes.subarray(block * BLOCK, (block + 1) * BLOCK).every((byte) => byte === kind));
    }),
    { numRuns: 200 },
  );
});
