/** A set of digests of one size in two flat arrays: about 45 bytes a SHA-256 digest, where a Set of strings takes 150. */

export interface DigestSet {
  readonly size: number;
  /** How many were added before the digest at `at` of `digests`; -1 where it is not in the set. */
  indexOf(digests: Uint8Array, at: number): number;
  /** Whether the digest at `at` of `digests` is in the set. */
  has(digests: Uint8Array, at: number): boolean;
  /** True where it was not there before. */
  add(digests: Uint8Array, at: number): boolean;
}

const INITIAL = 1024;

/**
 * @param digestSize bytes of a digest that count, at least four
 * @param expected digests for which there is room at once
 */
export function digestSet(digestSize: number, expected = INITIAL): DigestSet {
  const room = Math.max(1, Math.ceil(expected));
  let stored = new Uint8Array(room * digestSize);
  let slots = new Uint32Array(2 ** Math.ceil(Math.log2(room * 2))); // number of a stored digest and 1, or 0 for a free slot
  let size = 0;

  /** The slot that holds the digest, or the free one where it belongs. */
  function find(table: Uint32Array, digests: Uint8Array, at: number): number {
    // Digests are uniform already: their first bytes do as a hash.
    const mask = table.length - 1;
    let slot = (digests[at]! | (digests[at + 1]! << 8) | (digests[at + 2]! << 16) | (digests[at + 3]! << 24)) & mask; // there are four
    for (;;) {
      const number = table[slot]!; // slot is masked
      if (number === 0 || isSame((number - 1) * digestSize, digests, at)) return slot;
      slot = (slot + 1) & mask;
    }
  }
  function isSame(own: number, digests: Uint8Array, at: number): boolean {
    for (let i = 0; i < digestSize; i++) if (stored[own + i] !== digests[at + i]) return false;
    return true;
  }
  function grow(): void {
    const more = new Uint8Array(stored.length * 2);
    more.set(stored);
    const table = new Uint32Array(slots.length * 2);
    for (let number = 0; number < size; number++) table[find(table, stored, number * digestSize)] = number + 1;
    stored = more;
    slots = table;
  }
  return {
    get size() {
      return size;
    },
    indexOf: (digests, at) => slots[find(slots, digests, at)]! - 1, // a slot holds the number and 1, or 0
    has: (digests, at) => slots[find(slots, digests, at)] !== 0,
    add(digests, at) {
      let slot = find(slots, digests, at);
      if (slots[slot] !== 0) return false;
      if ((size + 1) * digestSize > stored.length) {
        grow();
        slot = find(slots, digests, at);
      }
      stored.set(digests.subarray(at, at + digestSize), size * digestSize);
      slots[slot] = ++size;
      return true;
    },
  };
}
