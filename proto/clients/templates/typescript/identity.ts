/** Who we are to the services: login, and the token's renewal. */

import { NotFound, PermissionDenied, Unauthenticated } from "./errors.js";
import type { LoginResponse } from "./gen/mulligan/v1/iam_pb.js";

/** What a login gave; times are milliseconds since the epoch. */
export interface Tokens {
  readonly access: string;
  readonly refresh: string;
  readonly obtainedAt: number;
  readonly expiresAt: number;
}

/** Who logs in; `certificate` tells that the connections show one. */
export interface Who {
  readonly account: string;
  readonly secret: string;
  readonly project: string;
  readonly certificate: boolean;
}

/** The two calls that give tokens. */
export interface Door {
  login(who: Who): Promise<LoginResponse>;
  refresh(token: string): Promise<LoginResponse>;
}

/** One account in one scope, and the token that proves it. */
export class Identity {
  private tokens: Tokens | undefined;
  private renewing: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly who: Who,
    private readonly door: Door,
    private readonly clock: () => number = Date.now,
  ) {}

  /** Whether this can log in without anybody's help. */
  get canLogIn(): boolean {
    return this.who.certificate || (this.who.secret !== "" && this.who.account !== "");
  }

  /** Whether there has been a login that has not been forgotten. */
  get loggedIn(): boolean {
    return this.tokens !== undefined;
  }

  /** Return a token that is good for a while, logging in when there is none. */
  async accessToken(): Promise<string> {
    const { tokens } = this;
    if (tokens !== undefined && this.isFresh(tokens)) return tokens.access;
    return (await this.renewFrom(tokens)).access;
  }

  /** Get another token than `refused`, which a service no longer accepts. */
  async renew(refused: string): Promise<void> {
    const { tokens } = this;
    if (tokens === undefined || tokens.access === refused) await this.renewFrom(tokens);
  }

  /** Log in with the secret or certificate, whatever tokens there are. */
  logIn(): Promise<Tokens> {
    return this.alone(() => this.anew());
  }

  /** Have no tokens any more. */
  forget(): void {
    this.tokens = undefined;
  }

  /** More than a tenth of the token's life (at most a minute) must be left. */
  private isFresh(tokens: Tokens): boolean {
    const spare = Math.min(60_000, (tokens.expiresAt - tokens.obtainedAt) / 10);
    return this.clock() < tokens.expiresAt - spare;
  }

  private alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.renewing.then(work);
    this.renewing = turn.catch(() => undefined);
    return turn;
  }

  private renewFrom(old: Tokens | undefined): Promise<Tokens> {
    return this.alone(async () => {
      if (this.tokens !== undefined && this.tokens !== old) return this.tokens; // by another call
      if (old !== undefined && old.refresh !== "") {
        try {
          return this.keep(await this.door.refresh(old.refresh), old.refresh);
        } catch (error) {
          if (!isRefusal(error)) throw error;
          if (!this.canLogIn) {
            throw new Unauthenticated(`the login of '${this.who.account}' has ended; log in again`);
          }
        }
      }
      return this.anew();
    });
  }

  private async anew(): Promise<Tokens> {
    const { account, certificate } = this.who;
    if (account === "" && !certificate) {
      throw new Unauthenticated("no account is set; give the client one");
    }
    if (!this.canLogIn) {
      throw new Unauthenticated(`'${account}' is not logged in; give the client its secret`);
    }
    try {
      return this.keep(await this.door.login(this.who));
    } catch (error) {
      if (!(error instanceof Unauthenticated)) throw error;
      const who = account || "the certificate";
      throw new Unauthenticated(`the login of '${who}' was refused: ${error.message}`);
    }
  }

  private keep(answer: LoginResponse, refresh = ""): Tokens {
    const now = this.clock();
    const expires = answer.expiresAt;
    this.tokens = {
      access: answer.accessToken,
      refresh: answer.refreshToken || refresh,
      obtainedAt: now,
      expiresAt:
        expires === undefined
          ? now + 60_000
          : Number(expires.seconds) * 1000 + expires.nanos / 1e6,
    };
    return this.tokens;
  }
}

function isRefusal(error: unknown): boolean {
  return (
    error instanceof Unauthenticated ||
    error instanceof PermissionDenied ||
    error instanceof NotFound
  );
}
