// Writes docs/man from the commands' own descriptions: `npm run man`. test/house/man.test.ts compares.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { app } from "../../cli/src/app.ts";
import { manPages } from "../../cli/src/manual.ts";

const folder = join(import.meta.dirname, "../../docs/man");
mkdirSync(folder, { recursive: true });
for (const { name, content } of manPages(app)) writeFileSync(join(folder, name), content);
