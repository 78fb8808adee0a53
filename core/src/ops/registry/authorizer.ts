/** Finds out how a registry wants to know us, and keeps what it gave us. */
import { isAshlarError, SourceError } from "../../errors/index.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { basicAuthorization, type Credentials } from "./credentials.ts";
import { fetchToken, type SendPlain, type Token } from "./token.ts";
import type { Timing } from "./transport.ts";

/** What a request wants to do. */
export interface Access {
  readonly action: "pull" | "push";
  /** Other repositories of the same registry that are read from, to mount blobs. */
  readonly from?: readonly string[] | undefined;
}

export interface Authorizer {
  /** Value of the Authorization header, where one is needed as far as is known. May ask for a new token. */
  header(access: Access, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * Takes in a refusal (status 401). Whether another try makes sense. Errors: SourceError `unauthorized`, and those of
   * {@link fetchToken}.
   * @param refused the value of the Authorization header that was refused
   * @param wanted the WWW-Authenticate header
   */
  answer(
    wanted: string | undefined,
    access: Access,
    refused: string | undefined,
    signal?: AbortSignal,
  ): Promise<boolean>;
}

export interface AuthorizerOptions {
  /** Origin of the registry. */
  readonly registry: URL;
  /** Undefined for a registry as such: to log in. */
  readonly repository: string | undefined;
  /** Asked once, and not before they are needed. */
  readonly credentials: () => Promise<Credentials | undefined>;
  readonly send: SendPlain;
  readonly timing: Timing;
  /** For people: what is talked to. */
  readonly name: string;
}

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const { registry, repository, send, timing, name } = options;
  let known: Promise<Credentials | undefined> | undefined;
  const credentials = () => {
    known ??= options.credentials();
    return known;
  };
  let basic: string | undefined;
  let bearer: Challenge | undefined;
  const tokens = new Map<string, Promise<Token>>();

  function scopesFor({ action, from = [] }: Access, challenge: Challenge): string[] {
    const actions = action === "pull" ? "pull" : "pull,push";
    const own = repository === undefined ? [] : [`repository:${repository}:${actions}`];
    const asked = challenge.parameters["scope"]?.split(" ").filter(Boolean) ?? own;
    return [...asked, ...from.map((other) => `repository:${other}:pull`)];
  }

  const keyOf = ({ action, from = [] }: Access): string => [action, ...from].join(" ");

  /** One request for each kind of access, however many wait for it. */
  function tokenFor(access: Access, challenge: Challenge, signal: AbortSignal | undefined): Promise<Token> {
    const key = keyOf(access);
    const pending = tokens.get(key);
    if (pending !== undefined)
      return pending.catch((error: unknown) => {
        // Whoever asked first was interrupted; that does not interrupt us.
        if (isAshlarError(error) || signal?.aborted) throw error;
        return tokenFor(access, challenge, signal);
      });
    const fetched = (async () => {
      const who = await credentials();
      if (who?.registryToken !== undefined) return { value: who.registryToken, until: Number.POSITIVE_INFINITY };
      const sendUntil: SendPlain = (request) => send({ ...request, signal });
      return fetchToken(challenge, scopesFor(access, challenge), who, registry, sendUntil, timing, name);
    })();
    tokens.set(key, fetched);
    fetched.catch(() => {
      if (tokens.get(key) === fetched) tokens.delete(key); // a failure is not remembered
    });
    return fetched;
  }

  return {
    async header(access, signal) {
      if (bearer === undefined) return basic;
      const key = keyOf(access);
      const present = await tokens.get(key)?.catch(() => undefined);
      if (present !== undefined && present.until <= timing.now()) tokens.delete(key);
      // The scope of a challenge belongs to the request that was refused.
      const { scope: _, ...parameters } = bearer.parameters;
      return `Bearer ${(await tokenFor(access, { ...bearer, parameters }, signal)).value}`;
    },
    async answer(wanted, access, refused, signal) {
      const challenges = parseChallenges(wanted);
      const asBearer = challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters["realm"]);
      if (asBearer !== undefined) {
        const key = keyOf(access);
        const present = await tokens.get(key)?.catch(() => undefined);
        if (present !== undefined) {
          // Somebody else has a new one by now.
          if (refused !== `Bearer ${present.value}`) return true;
          tokens.delete(key);
        }
        bearer = asBearer;
        return `Bearer ${(await tokenFor(access, asBearer, signal)).value}` !== refused;
      }
      if (challenges.some(({ scheme }) => scheme === "basic")) {
        const who = await credentials();
        if (who === undefined) throw new SourceError("unauthorized", `${name}: the registry wants credentials`);
        const value = basicAuthorization(who);
        if (value === refused) throw new SourceError("unauthorized", `${name}: the registry refuses these credentials`);
        basic = value;
        return true;
      }
      return false;
    },
  };
}
