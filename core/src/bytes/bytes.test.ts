import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  alignUp,
  byteString,
  bytesOf,
  concatBytes,
  crc32,
  crc32cRegister,
  equalBytes,
  formatUuid,
  fromBase64,
  fromHex,
  fromUtf8,
  isZero,
  parseUuid,
  showBytes,
  swapGuid,
  toBase64,
  toHex,
  uuidFromHash,
} from "./index.ts";

test("isZero agrees with a plain loop on views of every alignment", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(16), fc.boolean(), (bytes, skip, zero) => {
      const whole = zero ? new Uint8Array(bytes.length) : bytes;
      const view = whole.subarray(Math.min(skip, whole.length));
      assert.equal(
        isZero(view),
        view.every((byte) => byte === 0),
      );
    }),
  );
  const minusZero = new Uint8Array(16);
  minusZero[7] = 0x80; // the bits of -0.0
  assert.equal(isZero(minusZero), false);
});

test("equalBytes agrees with a plain loop on views of every alignment", () => {
  const place = (bytes: Uint8Array, at: number): Uint8Array => {
    const whole = new Uint8Array(at + bytes.length + 3);
    whole.set(bytes, at);
    return whole.subarray(at, at + bytes.length);
  };
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(bytes, fc.nat(7), fc.nat(7), fc.nat(), (one, at, otherAt, changed) => {
      const other = place(one, otherAt);
      assert.ok(equalBytes(place(one, at), other));
      other[changed % other.length]! ^= 1;
      assert.ok(!equalBytes(place(one, at), other));
      assert.ok(!equalBytes(one, one.subarray(1)));
    }),
  );
});

test("byte strings keep every byte and show text as text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => assert.deepEqual(bytesOf(byteString(bytes)), bytes)),
  );
  assert.equal(showBytes(fromUtf8("grün\n")), "grün\\x0a");
  assert.equal(showBytes(byteString(Uint8Array.of(0x61, 0xff, 0x5c))), "a\\xff\\\\");
  assert.equal(showBytes(fromUtf8("\u009b31m\u001b[0m")), "\\xc2\\x9b31m\\x1b[0m");
  assert.notEqual(showBytes(fromUtf8("\u009b")), showBytes(byteString(Uint8Array.of(0x9b))));
  assert.equal(showBytes(fromUtf8("a\u202etxt")), "a\\xe2\\x80\\xaetxt");
});

test("hexadecimal, UUIDs and GUID order", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => assert.deepEqual(fromHex(toHex(bytes)), bytes)));
  const text = "00112233-4455-6677-8899-aabbccddeeff";
  assert.equal(formatUuid(parseUuid(text)), text);
  assert.equal(toHex(swapGuid(parseUuid(text))), "33221100554477668899aabbccddeeff");
  for (const bad of ["", "0", "zz"]) if (bad !== "") assert.throws(() => fromHex(bad), /not hexadecimal/);
  const hash = Buffer.alloc(32, 0xff);
  assert.match(uuidFromHash(hash), /^ffffffff-ffff-8fff-bfff-ffffffffffff$/);
  assert.equal(hash[6], 0xff, "the caller's digest stays, even a Buffer");
});

test("CRCs have the values of their standards", () => {
  const text = new TextEncoder().encode("123456789");
  assert.equal(crc32(text), 0xcbf43926);
  assert.equal(crc32(text.subarray(4), crc32(text.subarray(0, 4))), 0xcbf43926);
  assert.equal(~crc32cRegister(text, 0xffffffff) >>> 0, 0xe3069283);
});

test("alignUp is right past 2^31", () => {
  assert.equal(alignUp(2 ** 40 + 1, 4096), 2 ** 40 + 4096);
  assert.deepEqual(concatBytes(Uint8Array.of(1), Uint8Array.of(), Uint8Array.of(2, 3)), Uint8Array.of(1, 2, 3));
});

test("base64: as Buffer writes it, and nothing else is read", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const text = toBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString("base64"));
      assert.deepEqual(fromBase64(text), bytes);
    }),
  );
  for (const text of [
    "A",
    "AA",
    "AAA",
    "AA=A",
    "A===",
    "====",
    "QR==",
    "QUJ=",
    "QQ==\n",
    " QQ=",
    "Q-==",
    "QQ==QQ==",
    "é===",
  ])
    assert.throws(() => fromBase64(text), { code: "bad-base64" }, text);
});
