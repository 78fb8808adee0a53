import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { makerOf, newMark } from "./process-mark.ts";

test("a mark of this process is running, and each is another", () => {
  assert.equal(makerOf(newMark()), "running");
  assert.notEqual(newMark(), newMark());
});

test("a mark of a process that has ended says so, even when its id is used again", async () => {
  const [host, pid, start, random] = newMark().split("-");
  assert.equal(makerOf(`${host}-${pid}-${Number(start) + 1}-${random}`), "ended");
  const child = spawn("true");
  await once(child, "close");
  assert.equal(makerOf(`${host}-${child.pid}-1-${random}`), "ended");
});

test("nothing is said of other machines and of other names", () => {
  const [, ...rest] = newMark().split("-");
  assert.equal(makerOf(["00000000", ...rest].join("-")), "unknown");
  for (const name of ["", "123", "x-1-2-3", "../../etc"]) assert.equal(makerOf(name), "unknown");
});
