/** Bounds on what a server can make us do. */

/** Steps from one address to the next, as browsers and Go allow. */
export const MAX_REDIRECTS = 10;
/** Bytes of a body that says what went wrong. */
export const MAX_ERROR_BODY = 64 * 1024;
/** Bytes of an answer with a token. */
export const MAX_TOKEN_BODY = 1024 * 1024;
/** Characters of one token; the longest known have some 10 kB. Longer ones fit into no header. */
export const MAX_TOKEN = 64 * 1024;
/** Tags of a repository, and referrers of a manifest, that are listed. */
export const MAX_TAGS = 100_000;
export const MAX_REFERRERS = 10_000;
/** Pages of one list. */
export const MAX_PAGES = 1000;
/** Characters of a WWW-Authenticate or Link header that are looked at. */
export const MAX_HEADER = 16 * 1024;

/** Milliseconds that a document (manifest, list, token) may take from its first byte to its last. */
export const DOCUMENT_DEADLINE = 120_000;
/** A body must come at least this fast, in bytes a second of waiting for it, … */
export const MIN_RATE = 1024;
/** … measured over this many milliseconds of waiting. */
export const RATE_WINDOW = 30_000;

/** Milliseconds before the first further attempt; doubled for each one after. */
export const FIRST_DELAY = 500;
export const MAX_DELAY = 30_000;
/** Milliseconds that a server may ask us to wait. */
export const MAX_RETRY_AFTER = 300_000;
/** Further attempts at a request. */
export const RETRY_TIMES = 4;
/** Times that one download or upload is taken up again where it broke, when each time it got further. */
export const MAX_RESUMES = 100;
