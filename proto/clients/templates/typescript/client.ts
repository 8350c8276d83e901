/** The client itself: one address in, the services' methods out. */

import { readFileSync } from "node:fs";

import { type CallOptions, Calls, type Parts, type Shown } from "./calls.js";
import { Channels } from "./channels.js";
import { Directory } from "./directory.js";
import { InvalidArgument, Unauthenticated } from "./errors.js";
import { ASK_TIMEOUT_MS, PATIENCE_MS } from "./figures.js";
import type { Endpoint, ListEndpointsResponse, Region } from "./gen/mulligan/v1/catalog_pb.js";
import type { Machine, MachineState } from "./gen/mulligan/v1/control_pb.js";
import { Identity, type Tokens } from "./identity.js";
import { Names, textsOf } from "./names.js";
import { Positions } from "./positions.js";
import { Regions } from "./regions.js";
import { Catalog, Iam, Services } from "./services.js";
import { waitFor } from "./waiting.js";

const PLAINTEXT = "http://";

/** Where a control plane is, and who we are there. Paths are of PEM files. */
export interface ClientOptions {
  /** `host:port` of any services, one or several; one is enough. `http://` does without TLS. */
  readonly address: string | readonly string[];
  /** Path of the CA that vouches for the services; none: the system's trust store. */
  readonly ca?: string;
  /** The CA itself, instead of its path. */
  readonly caPem?: string;
  readonly account?: string;
  readonly secret?: string;
  /** Name or UUID; empty logs in to the system. */
  readonly project?: string;
  /** Empty takes the region that the address belongs to. */
  readonly region?: string;
  /** A client certificate, which logs in where there is no secret. */
  readonly cert?: string;
  readonly key?: string;
  /** Milliseconds for which a call waits out restarts. */
  readonly patienceMs?: number;
  /** Let reads answer from a read model that lags. */
  readonly allowStale?: boolean;
  /**
   * Tells which span is at work (W3C Trace Context), for calls that are not told by an option of
   * their own. Without one, the services begin the trace, and decide whether it is recorded.
   */
  readonly traceparent?: () => string | undefined;
}

interface Whole {
  readonly options: ClientOptions;
  readonly parts: Parts;
  readonly identity: Identity;
}

/**
 * A control plane as one account sees it. Nothing is sent before the first call; `close` it, or
 * declare it with `using`.
 */
export class Client extends Services {
  /** UUIDs of names and names of UUIDs, kept for a minute. */
  readonly names: Names;
  /** The other regions. */
  readonly regions: Regions;
  private readonly whole: Whole;

  /** `view` is for `at`. */
  constructor(options: ClientOptions, view?: { whole: Whole; at: string }) {
    const whole = view?.whole ?? assemble(options);
    const parts: Parts = {
      ...whole.parts,
      at: view?.at ?? "",
      missing: (request) => this.names.forget(textsOf(request)),
    };
    super(new Calls(parts));
    this.whole = whole;
    this.isView = view !== undefined;
    this.names = new Names(this.meta);
    this.regions = new Regions(this, (region) => this.neighbour(region));
  }

  private readonly isView: boolean;

  /**
   * Return a client of what MULLIGAN_ADDRESS (several with commas), MULLIGAN_CA, MULLIGAN_ACCOUNT,
   * MULLIGAN_SECRET, MULLIGAN_PROJECT, MULLIGAN_CERT and MULLIGAN_KEY say; `more` goes before them.
   */
  static fromEnvironment(more: Partial<ClientOptions> = {}): Client {
    const named = (name: string): string | undefined => process.env[`MULLIGAN_${name}`] || undefined;
    const address = more.address ?? named("ADDRESS")?.split(",").map((part) => part.trim());
    if (address === undefined) {
      throw InvalidArgument.of("address", "set MULLIGAN_ADDRESS to HOST:PORT of a service");
    }
    return new Client({
      ca: named("CA"),
      account: named("ACCOUNT"),
      secret: named("SECRET"),
      project: named("PROJECT"),
      cert: named("CERT"),
      key: named("KEY"),
      ...more,
      address,
    });
  }

  /** The region the client talks to; empty until it has asked. */
  get region(): string {
    return this.whole.parts.directory.region;
  }

  /** The highest log position seen, by region. */
  get positions(): ReadonlyMap<string, bigint> {
    return this.whole.parts.positions.seen;
  }

  /** The entry as of which the latest call was answered; undefined for the present. */
  get shown(): Shown | undefined {
    return this.calls.shown;
  }

  /** Whether the client has what a login takes, or has logged in. */
  get canLogIn(): boolean {
    return this.whole.identity.canLogIn || this.whole.identity.loggedIn;
  }

  /** Return every endpoint that the Catalog lists now. */
  endpoints(): Promise<readonly Endpoint[]> {
    return this.whole.parts.directory.endpoints();
  }

  /** Return the regions that the Catalog lists now. */
  publicRegions(): Promise<readonly Region[]> {
    return this.whole.parts.directory.regions();
  }

  /** Log in now; throw Unauthenticated when it is refused. */
  logIn(): Promise<Tokens> {
    return this.whole.identity.logIn();
  }

  /** End the session, or all of the account's, and forget the tokens whatever comes of it. */
  async logOut(everywhere = false): Promise<void> {
    try {
      if (this.whole.identity.loggedIn) await this.iam.logout({ everywhere });
    } catch (error) {
      if (!(error instanceof Unauthenticated)) throw error; // the session is over already
    } finally {
      this.whole.identity.forget();
    }
  }

  /**
   * Return a view of the same control plane as of an earlier entry (its number) or time (RFC 3339).
   *
   * It shares connections and identity, and ends with this client; what does not only read is
   * refused.
   */
  at(moment: string): Client {
    return new Client(this.whole.options, { whole: this.whole, at: moment });
  }

  /**
   * Return a machine once it rests in one of these states.
   *
   * Throw FailedPrecondition when it has failed, and DeadlineExceeded when `timeoutMs` are over,
   * half an hour unless told otherwise: what was begun goes on then.
   */
  waitFor(
    machine: string,
    states: readonly MachineState[],
    options: CallOptions = {},
  ): Promise<Machine> {
    return waitFor(this.control, machine, states, options);
  }

  /** Close the connections; a view does nothing. */
  close(): void {
    if (this.isView) return;
    this.regions.close();
    this.whole.parts.channels.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private neighbour(region: Region): Client {
    const { ca: _ca, caPem: _caPem, ...shared } = this.whole.options;
    const trust = region.ca ? { caPem: region.ca } : { ca: _ca, caPem: _caPem };
    const addresses = region.addresses.map((one) => (this.isPlain ? PLAINTEXT + one : one));
    return new Client({ ...shared, ...trust, address: addresses, region: region.name });
  }

  private get isPlain(): boolean {
    return [this.whole.options.address].flat().some((one) => one.startsWith(PLAINTEXT));
  }
}

function assemble(options: ClientOptions): Whole {
  const given = [options.address].flat();
  const seeds = given.map((one) => (one.startsWith(PLAINTEXT) ? one.slice(PLAINTEXT.length) : one));
  const plaintext = given.some((one) => one.startsWith(PLAINTEXT));
  const channels = new Channels({ ...options, plaintext });
  const patienceMs = options.patienceMs ?? PATIENCE_MS;
  const directory = new Directory(
    seeds,
    (address) => askOne(channels, address),
    options.region ?? "",
  );
  const positions = new Positions(options.allowStale ?? false);
  const shared = { directory, channels, positions, patienceMs, traceparent: options.traceparent };
  const iam = new Iam(new Calls(shared));
  const identity = new Identity(
    {
      account: options.account ?? "",
      secret: options.secret ?? "",
      project: options.project ?? "",
      certificate: Boolean(options.cert),
    },
    {
      login: ({ account, secret, project }) => iam.login({ account, secret, project }),
      refresh: (refreshToken) => iam.refresh({ refreshToken }),
    },
  );
  return { options, identity, parts: { ...shared, identity } };
}

/** Ask one address, once, for the endpoints. */
async function askOne(channels: Channels, address: string): Promise<ListEndpointsResponse> {
  const directory = new Directory([address], () => Promise.reject(new Error("never asked")));
  const parts = { directory, channels, positions: new Positions(), once: true };
  return new Catalog(new Calls(parts)).listEndpoints({}, { timeoutMs: ASK_TIMEOUT_MS });
}

/** Return the text of a file that holds a secret, without the line's end. */
export function secretIn(path: string): string {
  return readFileSync(path, "utf8").trim();
}
