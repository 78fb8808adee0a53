// What an agent reads on its machine: its own records, its policy, the kernel's table, EFI variables.
import assert from "node:assert/strict";
import { encodeUtf8 } from "../../../core/src/bytes/index.ts";
import {
  type AgentRecord,
  EMPTY_RECORD,
  efiFlag,
  efiText,
  encodeRecord,
  parseHistory,
  parseRecord,
  parseVerityTable,
  readPolicyFiles,
} from "../../../core/src/ops/machine/index.ts";
import type { Parser } from "../harness.ts";
import { runOf, shape, text } from "./common.ts";

const HASH = "ab".repeat(32);
const AT = "2026-11-23T12:00:00.000Z";
const release = { rootHash: HASH, uki: `sha256:${HASH}`, imageVersion: "2", manifest: `sha256:${HASH}` } as const;
const RECORD: AgentRecord = {
  ...EMPTY_RECORD,
  source: { kind: "channel", reference: "registry.example/os:stable", root: `sha256:${HASH}` },
  releases: [
    {
      ...release,
      imageId: "os",
      architecture: "amd64",
      reference: "registry.example/os:stable",
      entry: "os_2",
      signatures: [{ key: `sha256:${HASH}`, form: "bundle", name: "registry.example/os" }],
      channel: { name: "os stable", id: `sha256:${HASH}` },
      verifiedAt: AT,
    },
  ],
  pending: { ...release, state: "staged", at: AT, entry: "os_2", bootId: "1" },
  refused: [{ ...release, why: "failed", message: "no tries are left", at: AT }],
  lastCheck: { at: AT, verb: "auto", result: "error", message: "no network", code: "network" },
};
const POLICY = `[source]
channel = "registry.example/os:stable"
root = "/usr/lib/ashlar/root.json"
[trust]
keys = ["/usr/lib/ashlar/release.pub"]
unsigned = "refuse"
[check]
interval = "6h"
windows = ["Mon..Fri 01:00-05:00", "Sat,Sun 22:00-04:00"]
[reboot]
policy = "window"
`;
const HISTORY = `{"at":"${AT}","event":"staged","message":"release 2 is staged","imageVersion":"2"}\n`;

export const MACHINE_PARSERS: readonly Parser[] = [
  {
    name: "agent record",
    mutants: text(new TextDecoder().decode(encodeRecord(RECORD))),
    *shapes() {
      yield shape("deep", runOf("[", 500_000));
      yield shape(
        "many channels",
        `{"schema":"ashlar.agent-record/v1","channels":{${Array.from({ length: 50_000 }, (_, i) => `"${i}":{}`).join()}}}`,
      );
      yield shape("prototype", '{"schema":"ashlar.agent-record/v1","channels":{"__proto__":{}}}');
    },
    async read(bytes) {
      const record = parseRecord(bytes, "record");
      parseRecord(encodeRecord(record), "record"); // what was read can be written and read again
    },
  },
  {
    name: "agent history",
    mutants: text(HISTORY.repeat(3)),
    *shapes() {
      yield shape("one line", runOf("x", 2_000_000));
      yield shape("many lines", "\n".repeat(1_000_000));
      yield shape("deep", `${runOf("[", 500_000)}\n`);
    },
    async read(bytes) {
      assert.ok(parseHistory(bytes).length <= 501);
    },
  },
  {
    name: "machine policy",
    mutants: text(POLICY),
    *shapes() {
      yield shape("windows", `[check]\nwindows = ["${runOf("Mon,", 900)}Mon 01:00-02:00"]\n`);
      yield shape("deep", `a = ${runOf("[", 60_000)}`);
      yield shape("digits", `[check]\ninterval = "${runOf("9", 60_000)}h"\n`);
    },
    async read(bytes) {
      const file = { path: "a.toml", bytes };
      const policy = readPolicyFiles([file], []);
      assert.deepEqual(readPolicyFiles([], [file]).check, policy.check);
      assert.ok(policy.check.interval >= 0 && policy.check.interval <= 366 * 86_400_000);
    },
  },
  {
    name: "verity table",
    mutants: text(`1 254:2 254:3 4096 4096 262144 1 sha256 ${HASH} ${HASH} 1 ignore_zero_blocks`),
    *shapes() {
      yield shape("spaces", runOf(" ", 1_000_000));
      yield shape("words", "1 ".repeat(500_000));
    },
    async read(bytes) {
      assert.match(parseVerityTable(new TextDecoder().decode(bytes)).rootHash, /^[0-9a-f]+$/);
    },
  },
  {
    name: "EFI variable",
    mutants: text(`\u0007\0\0\0${[..."os_2+2-1.efi"].join("\0")}\0\0\0`),
    *shapes() {
      yield shape("long", runOf("x", 1_000_000));
    },
    async read(bytes) {
      efiFlag(bytes);
      const found = efiText(bytes);
      assert.ok(found === undefined || encodeUtf8(found).length <= 3 * bytes.length);
    },
  },
];
