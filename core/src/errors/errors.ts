/** The error classes of Ashlar. A class says what to do next, a code says what happened; codes are API. */

export interface ErrorDetails {
  /** Byte position in the thing that the message names. */
  readonly offset?: number | undefined;
  /** Path inside the image or tree, or of a file, as it may be shown to a person. */
  readonly path?: string | undefined;
  readonly expected?: string | number | undefined;
  readonly actual?: string | number | undefined;
  readonly cause?: unknown;
}

/** Classes made here differ in name only, so that one definition serves them all without a shared ancestor of ours. */
function defineError<K extends string>(kind: K) {
  return class extends Error {
    readonly kind: K = kind;
    readonly code: string;
    readonly details: ErrorDetails;

    constructor(code: string, message: string, details: ErrorDetails = {}) {
      super(message, details.cause === undefined ? undefined : { cause: details.cause });
      this.name = kind;
      this.code = code;
      this.details = details;
    }
  };
}

/** The bytes are wrong: no reader can make sense of them. */
export const FormatError = defineError("FormatError");
export type FormatError = InstanceType<typeof FormatError>;

/** The bytes are fine, we cannot deal with them. */
export const UnsupportedError = defineError("UnsupportedError");
export type UnsupportedError = InstanceType<typeof UnsupportedError>;

/** The bytes are not the promised ones: a digest, a size or a root hash does not match. Never downgraded. */
export const IntegrityError = defineError("IntegrityError");
export type IntegrityError = InstanceType<typeof IntegrityError>;

/** The right bytes, but a rule forbids their use. */
export const PolicyError = defineError("PolicyError");
export type PolicyError = InstanceType<typeof PolicyError>;

/** No bytes: a file, device or server did not give what it should. Trying again may help. */
export const SourceError = defineError("SourceError");
export type SourceError = InstanceType<typeof SourceError>;

/** The result cannot be put where it should go: no space, no permission, something is there already. */
export const SinkError = defineError("SinkError");
export type SinkError = InstanceType<typeof SinkError>;

export type AshlarError = FormatError | UnsupportedError | IntegrityError | PolicyError | SourceError | SinkError;

export function isAshlarError(error: unknown): error is AshlarError {
  return (
    error instanceof FormatError ||
    error instanceof UnsupportedError ||
    error instanceof IntegrityError ||
    error instanceof PolicyError ||
    error instanceof SourceError ||
    error instanceof SinkError
  );
}
