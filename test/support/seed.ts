// Loaded before the tests of the fast tier: the same property cases every time, so that a run of CI says something about
// the change and not about luck. The long tier draws new ones. `node --import ./test/support/seed.ts --test …`
import process from "node:process";
import fc from "fast-check";

if (process.env["ASHLAR_LONG"] !== "true") fc.configureGlobal({ seed: 2026 });
