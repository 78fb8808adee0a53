export { type Copied, type CopyEnvironment, type CopyOptions, copyImage } from "./copy.ts";
export { forwardSource } from "./forward-source.ts";
