export { type Labelled, labelForComposefs, labelSystem, stripLabels } from "./label.ts";
export { readSystemPolicy, type SystemPolicy } from "./policy-files.ts";
export { type LabelMode, labelTree } from "./system.ts";
