/** The labels of a root that is to be booted, and what is said about them. */
import type { Directory } from "../../tree/index.ts";
import { showPath } from "../../tree/index.ts";
import type { Reporter } from "../report.ts";
import { labelSystem, stripLabels } from "./label.ts";
import { readSystemPolicy } from "./policy-files.ts";

/** `policy`: by the policy of the tree, where it has one; `none`: no labels. */
export type LabelMode = "policy" | "none";

/** Hard links that are named in a note. */
const SHOWN_CONFLICTS = 3;

/**
 * Sets the labels of all files, or takes them away, and notes which. Labels that an image brings along are those of the
 * machine that built it, so they never stay. Returns the policy's name, or `none`. Throws what `readSystemPolicy` and the
 * patterns of the policy throw.
 */
export async function labelTree(root: Directory, mode: LabelMode, reporter: Reporter): Promise<string> {
  const policy = mode === "none" ? undefined : await readSystemPolicy(root);
  if (policy === undefined) {
    const stripped = stripLabels(root);
    if (stripped > 0)
      reporter.note({
        code: "selinux-stripped",
        message: `${stripped} SELinux labels removed: there is no policy for them`,
      });
    return "none";
  }
  const { labels, conflicts } = labelSystem(root, policy);
  reporter.note({
    code: "selinux-labels",
    message: `${labels} files labelled by the image's SELinux policy ${policy.name}`,
  });
  if (conflicts.length === 0) return policy.name;
  const shown = conflicts.slice(0, SHOWN_CONFLICTS).map(showPath).join(", ");
  reporter.note({
    code: "selinux-hard-links",
    message: `${conflicts.length} hard links have the label of their file's first name: ${shown}`,
  });
  return policy.name;
}
