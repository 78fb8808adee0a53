import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { encodeUtf8 } from "../../bytes/index.ts";
import {
  type AgentRecord,
  EMPTY_RECORD,
  efiFlag,
  efiText,
  encodeRecord,
  MAX_EVENTS,
  POLICY_EXAMPLE,
  parseDuration,
  parseHistory,
  parseRecord,
  parseVerityTable,
  parseWindow,
  readPolicyFiles,
} from "./index.ts";

const HASH = "ab".repeat(32);

test("a verity table tells devices and root hash", () => {
  const table = parseVerityTable(`1 254:2 254:3 4096 4096 262144 1 sha256 ${HASH} - 1 ignore_zero_blocks`);
  assert.deepEqual(table, {
    dataDevice: "254:2",
    hashDevice: "254:3",
    dataBlocks: 262144,
    algorithm: "sha256",
    rootHash: HASH,
  });
});

test("what is no verity table is refused in one line", () => {
  for (const text of [
    "",
    "0 1 linear 8:1 0",
    `1 sda2 8:3 4096 4096 1 1 sha256 ${HASH} -`,
    "1 8:2 8:3 4096 4096 1 1 sha256 XY -",
  ])
    assert.throws(() => parseVerityTable(text), { code: "bad-verity-table" });
  assert.throws(
    () => parseVerityTable("\n".repeat(5000)),
    ({ message }: Error) => message.length < 2000,
  );
});

function variable(text: string): Uint8Array {
  const units = Uint16Array.from([...text, "\0"].map((character) => character.charCodeAt(0)));
  return new Uint8Array([7, 0, 0, 0, ...new Uint8Array(units.buffer)]);
}

test("EFI variables are text up to the first zero, or nothing", () => {
  assert.equal(efiText(variable("os_2+2-1.efi")), "os_2+2-1.efi");
  assert.equal(efiText(undefined), undefined);
  assert.equal(efiText(new Uint8Array(3)), undefined);
  assert.equal(efiText(new Uint8Array(5000)), undefined);
  assert.equal(efiText(Uint8Array.from([7, 0, 0, 0, 0, 0xd8, 0, 0])), undefined); // half a surrogate pair
  assert.equal(efiFlag(Uint8Array.from([6, 0, 0, 0, 1])), true);
  assert.equal(efiFlag(Uint8Array.from([6, 0, 0, 0])), undefined);
});

const RECORD: AgentRecord = {
  ...EMPTY_RECORD,
  source: { kind: "reference", reference: "registry.example/os:1" },
  releases: [
    {
      rootHash: HASH,
      uki: `sha256:${HASH}`,
      imageId: "os",
      imageVersion: "2",
      architecture: "amd64",
      manifest: `sha256:${HASH}`,
      reference: "registry.example/os:1",
      signatures: [{ key: `sha256:${HASH}`, form: "bundle" }],
      verifiedAt: "2026-11-23T12:00:00.000Z",
    },
  ],
};

test("a record is read back as it was written", () => {
  assert.deepEqual(parseRecord(encodeRecord(RECORD), "record"), RECORD);
});

test("a record stays bounded", () => {
  const [release] = RECORD.releases;
  const many = Array.from({ length: 100 }, () => release!);
  assert.ok(parseRecord(encodeRecord({ ...RECORD, releases: many }), "record").releases.length <= 16);
});

test("a record with anything wrong in it is refused", () => {
  const text = new TextDecoder().decode(encodeRecord(RECORD));
  for (const bad of [
    "",
    "{}",
    "[]",
    text.slice(0, -20),
    text.replace("agent-record/v1", "agent-record/v9"),
    text.replace(HASH, "zz"),
    text.replace('"reference",', '"elsewhere",'),
    text.replace('"channels": {}', '"channels": {"x": {}}'),
  ])
    assert.throws(() => parseRecord(encodeUtf8(bad), "record"), { name: "FormatError" });
});

test("a torn line of the history is passed over", () => {
  const line = JSON.stringify({ at: "2026-11-23T12:00:00Z", event: "staged", message: "release 2" });
  assert.equal(parseHistory(encodeUtf8(`${line}\n${line}\n{"at": "20`)).length, 2);
  assert.equal(parseHistory(encodeUtf8(`${line}\n`.repeat(3 * MAX_EVENTS))).length, MAX_EVENTS);
  assert.deepEqual(parseHistory(Uint8Array.from([0xff, 0xfe, 10, 0])), []);
});

const file = (text: string, path = "update.toml") => ({ path, bytes: encodeUtf8(text) });

test("an empty policy stages what comes and never reboots", () => {
  const policy = readPolicyFiles([], []);
  assert.equal(policy.source, undefined);
  assert.equal(policy.mode, "stage");
  assert.equal(policy.reboot.policy, "never");
  assert.equal(policy.trust.unsigned, "refuse");
  assert.equal(policy.fixedSource, false);
});

test("of source and trust what is sealed wins, of the rest what is local", () => {
  const sealed = file(
    '[source]\nchannel = "registry.example/os:stable"\nroot = "/usr/lib/ashlar/root.json"\n[trust]\nkeys = ["/usr/lib/ashlar/a.pub"]\n[check]\ninterval = "6h"\njitter = "30min"\n',
  );
  const local = file(
    '[source]\nreference = "evil.example/os:1"\n[trust]\nunsigned = "accept"\n[check]\ninterval = "1d"\n[reboot]\npolicy = "window"\nwindows = ["Sat 02:00-04:00"]\n',
  );
  const policy = readPolicyFiles([sealed], [local]);
  assert.equal(policy.source?.reference, "registry.example/os:stable");
  assert.equal(policy.source?.from, "image");
  assert.deepEqual(policy.trust, {
    keys: ["/usr/lib/ashlar/a.pub"],
    policy: undefined,
    identity: undefined,
    unsigned: "refuse",
    from: "image",
  });
  assert.equal(policy.check.interval, 24 * 3_600_000);
  assert.equal(policy.check.jitter, 30 * 60_000);
  assert.equal(policy.reboot.policy, "window");
  assert.deepEqual(policy.reboot.windows, [parseWindow("Sat 02:00-04:00")]);
});

test("an image that trusts the root of its channel alone is led nowhere else, unless it says so", () => {
  const source = '[source]\nchannel = "registry.example/os:stable"\nroot = "r"\n';
  const fixed = (text: string, sealed = true) =>
    readPolicyFiles(sealed ? [file(text)] : [], sealed ? [] : [file(text)]).fixedSource;
  assert.equal(fixed(source), true);
  assert.equal(fixed(`${source}fixed = false\n`), false);
  assert.equal(fixed(`${source}[trust]\nkeys = ["k"]\n`), false);
  assert.equal(fixed(`${source}[trust]\n`), true);
  assert.equal(fixed(source, false), false); // the machine's own word, which its owner may change
});

test("later files win over earlier ones key by key, trust as a whole", () => {
  const policy = readPolicyFiles(
    [
      file('[trust]\nkeys = ["a"]\n[check]\ninterval = "1h"\n', "10.toml"),
      file('[trust]\npolicy = "p"\n[check]\njitter = "1s"\n', "20.toml"),
    ],
    [],
  );
  assert.deepEqual(policy.trust.keys, []);
  assert.equal(policy.trust.policy, "p");
  assert.equal(policy.check.interval, 3_600_000);
});

test("a policy with a mistake is refused with its file", () => {
  for (const text of [
    "= 1",
    "[trust]\nkey = ['a']\n",
    "[source]\nchannel = 'a'\nreference = 'b'\n",
    "[source]\nreference = 'b'\nroot = 'r'\n",
    "[check]\ninterval = 'soon'\n",
    "[check]\ninterval = '9999999d'\n",
    "[reboot]\npolicy = 'always'\n",
    "[reboot]\nwindows = ['at night']\n",
    "[sorce]\n",
  ])
    assert.throws(() => readPolicyFiles([], [file(text, "/etc/ashlar/mine.toml")]), {
      code: "bad-policy",
      message: /^\/etc\/ashlar\/mine\.toml: .{3,250}$/,
    });
  assert.throws(() => readPolicyFiles([{ path: "x.toml", bytes: Uint8Array.from([0xff]) }], []), {
    code: "bad-policy",
  });
});

test("the example says nothing but defaults, everything in it is taken, and the document has it", async () => {
  assert.deepEqual(readPolicyFiles([], [file(POLICY_EXAMPLE)]), readPolicyFiles([], []));
  const said = POLICY_EXAMPLE.replaceAll(/^# (?=[a-z-]+ = )/gm, "").replace(/^reference = .*$/m, "");
  const { source: _, trust: __, ...others } = readPolicyFiles([], [file(said)]);
  const { source: ___, trust: ____, ...defaults } = readPolicyFiles([], []);
  assert.deepEqual(others, defaults);
  const document = await readFile(join(import.meta.dirname, "../../../../docs/updating-a-machine.md"), "utf8");
  assert.ok(document.includes(POLICY_EXAMPLE));
});

test("durations", () => {
  assert.equal(parseDuration("90s"), 90_000);
  assert.equal(parseDuration("1d"), 86_400_000);
  for (const text of ["", "1", "h", "-1h", "1.5h", "400d", "1w"]) assert.equal(parseDuration(text), undefined);
});
