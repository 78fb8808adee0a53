/**
 * Many expressions at once: a nondeterministic automaton, made deterministic as far as paths need it. Time is linear in
 * the path whatever the patterns are.
 */
import { UnsupportedError } from "../../errors/index.ts";
import { type ByteSet, has, type Regex } from "./regex.ts";

/** Nodes of all automata of a policy; Debian's 6000 patterns need some 150,000. */
const MAX_NODES = 600_000;
/** Deterministic states that are remembered; then they are made anew. */
const MAX_STATES = 4000;

type Node =
  | { readonly kind: "set"; readonly set: ByteSet; next: number }
  | { readonly kind: "split"; a: number; b: number }
  | { readonly kind: "start" | "end"; next: number }
  | { readonly kind: "accept"; readonly value: number };

interface State {
  readonly nodes: readonly number[];
  /** By byte; undefined where it was not needed yet. */
  readonly next: (State | undefined)[];
  /** Greatest value that is accepted here, if the input ends here; -1 where nothing is. */
  readonly accepted: number;
}

/** Shared by the automata of a policy, so that many small ones are bounded too. */
export interface NodeBudget {
  used: number;
}

export class Automaton {
  private readonly budget: NodeBudget;
  private readonly nodes: Node[] = [];
  private readonly starts: number[] = [];
  private states = new Map<string, State>();
  private first: State | undefined;
  private marks = new Uint32Array(0);
  private mark = 0;

  constructor(budget: NodeBudget) {
    this.budget = budget;
  }

  /** @param value that {@link match} returns where this expression matches, unless a greater one does; not negative */
  add(regex: Regex, value: number): void {
    const accept = this.node({ kind: "accept", value });
    this.starts.push(this.compile(regex, accept));
    this.first = undefined;
    this.states.clear();
  }

  /** The greatest value whose expression matches all of `text` from `start` on; -1 where none does. */
  match(text: string, start: number): number {
    if (this.first === undefined) {
      this.marks = new Uint32Array(this.nodes.length);
      this.first = this.state(this.closure(this.starts, true));
    }
    let state = this.first;
    for (let at = start; at < text.length; at++) {
      const byte = text.charCodeAt(at);
      let next = state.next[byte];
      if (next === undefined) {
        next = this.step(state, byte);
        state.next[byte] = next;
      }
      if (next.nodes.length === 0) return -1;
      state = next;
    }
    return state.accepted;
  }

  private node(node: Node): number {
    if (++this.budget.used > MAX_NODES)
      throw new UnsupportedError("selinux-regex", `the file contexts need more than ${MAX_NODES} states`);
    this.nodes.push(node);
    return this.nodes.length - 1;
  }

  /** Returns the node where `regex` starts; it goes on at `next`. */
  private compile(regex: Regex, next: number): number {
    switch (regex.kind) {
      case "set":
        return this.node({ kind: "set", set: regex.set, next });
      case "sequence":
        return regex.parts.reduceRight((after, part) => this.compile(part, after), next);
      case "choice":
        return regex.options
          .map((option) => this.compile(option, next))
          .reduceRight((b, a) => this.node({ kind: "split", a, b }));
      case "repeat":
        return this.repeat(regex.part, regex.min, regex.max, next);
      case "start":
      case "end":
        return this.node({ kind: regex.kind, next });
      case "ahead":
        throw new TypeError("an automaton does not look ahead");
    }
  }

  private repeat(part: Regex, min: number, max: number, next: number): number {
    let from = next;
    if (max === Number.POSITIVE_INFINITY) {
      const loop = { kind: "split" as const, a: -1, b: next };
      from = this.node(loop);
      loop.a = this.compile(part, from);
    } else for (let i = min; i < max; i++) from = this.node({ kind: "split", a: this.compile(part, from), b: next });
    for (let i = 0; i < min; i++) from = this.compile(part, from);
    return from;
  }

  /** All nodes that are reached without a byte, sorted; those that take none and lead on are left out. */
  private closure(from: readonly number[], atStart: boolean): number[] {
    const mark = ++this.mark;
    const found: number[] = [];
    const stack = [...from];
    for (let index = stack.pop(); index !== undefined; index = stack.pop()) {
      if (this.marks[index] === mark) continue;
      this.marks[index] = mark;
      const node = this.nodes[index]!; // nodes refer to nodes
      if (node.kind === "split") stack.push(node.a, node.b);
      else if (node.kind === "start") {
        if (atStart) stack.push(node.next);
      } else found.push(index);
    }
    return found.sort((a, b) => a - b);
  }

  private state(nodes: readonly number[]): State {
    const key = nodes.join();
    const known = this.states.get(key);
    if (known !== undefined) return known;
    if (this.states.size >= MAX_STATES) this.states = new Map();
    const state: State = { nodes, next: [], accepted: this.accepted(nodes) };
    this.states.set(key, state);
    return state;
  }

  private accepted(nodes: readonly number[]): number {
    let best = -1;
    const stack = [...nodes];
    const mark = ++this.mark;
    for (let index = stack.pop(); index !== undefined; index = stack.pop()) {
      if (this.marks[index] === mark) continue;
      this.marks[index] = mark;
      const node = this.nodes[index]!; // nodes refer to nodes
      if (node.kind === "accept") best = Math.max(best, node.value);
      else if (node.kind === "end") stack.push(node.next);
      else if (node.kind === "split") stack.push(node.a, node.b);
    }
    return best;
  }

  private step(state: State, byte: number): State {
    const next: number[] = [];
    for (const index of state.nodes) {
      const node = this.nodes[index]!; // nodes refer to nodes
      if (node.kind === "set" && has(node.set, byte)) next.push(node.next);
    }
    return this.state(this.closure(next, false));
  }
}
