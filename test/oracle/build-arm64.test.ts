// An arm64 disk, built on whatever this machine is: it passes the same checks as the one for x86-64.
import { debianLayout } from "../support/debian.ts";
import { ARM64, staticChecks } from "./static-checks.ts";

staticChecks({
  machine: ARM64,
  layout: () => debianLayout("trixie-arm64"),
  flags: async () => ["--platform", "linux/arm64"],
});
