// Key files that cannot do what is asked of them: one line, whatever waits for them.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { assertOneLine, run, runOk, workFolder } from "../support/samples.ts";

const folder = workFolder({ after });

test("keys that cannot sign, and what cannot be signed", async () => {
  const plain = join(folder, "plain");
  const locked = join(folder, "locked");
  await runOk(["keygen", "--no-password", "-o", plain]);
  await runOk(["keygen", "-o", locked], { env: { ASHLAR_PASSWORD: "secret" } });
  const nowhere = `oci:${join(folder, "nowhere")}:1`;
  for (const [args, message, env = {}] of [
    [["sign", "--key", `${plain}.pub`, nowhere], /plain\.pub: holds a PUBLIC KEY, expected a private key/],
    [["sign", "--key", `${locked}.key`, nowhere], /locked\.key: the password is wrong/, { ASHLAR_PASSWORD: "wrong" }],
    [["sign", "--key", `${plain}.key`, nowhere], /nowhere: not an OCI image layout/],
    [["verify", "--key", `${plain}.key`, nowhere], /plain\.key: holds a PRIVATE KEY, expected a PUBLIC KEY/],
    [["verify", "--key", `${plain}.pub`, join(folder, "nothing")], /nothing: no such file/],
    [["verify", "--key", `${plain}.pub`, `${plain}.key`], /plain\.key: is not signed/],
  ] as const) {
    const { status, stderr } = await run(args, { env });
    assert.ok(status !== null && status >= 3, `${args.join(" ")}: ${status}`);
    assertOneLine(stderr, message);
  }
});
