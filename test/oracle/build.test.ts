// The disk of an x86-64 image.
import { debianLayout } from "../support/debian.ts";
import { AMD64, staticChecks } from "./static-checks.ts";

staticChecks({ machine: AMD64, layout: () => debianLayout("trixie") });
