/** What a check reports; unlike an error it does not end the check. */
export interface Finding<Code extends string = string> {
  /** As stable as the code of an error. */
  readonly code: Code;
  /** One line. */
  readonly message: string;
}
