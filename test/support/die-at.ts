// Loaded before the command (`NODE_OPTIONS=--import`): kills it at the point of this number, as a power cut would, or
// writes how many points there were into a file.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { watchWrites } from "./points.ts";

const last = Number(process.env["ASHLAR_TEST_DIE_AT"] ?? Number.POSITIVE_INFINITY);
const counted = process.env["ASHLAR_TEST_POINTS"];
let points = 0;

if (isMainThread && counted !== undefined) process.on("exit", () => writeFileSync(counted, String(points)));
if (isMainThread)
  watchWrites(async (_call, original) => {
    if (points++ < last) return original();
    process.kill(process.pid, "SIGKILL");
    return new Promise(() => {}); // the signal may take a moment; nothing more is to happen
  });
