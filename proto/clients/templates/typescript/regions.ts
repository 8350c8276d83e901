/** Other regions, through one that is known: found, called, asked all at once. */

import type { Client } from "./client.js";
import { DeadlineExceeded, FailedPrecondition, MulliganError, NotFound } from "./errors.js";
import type { Region } from "./gen/mulligan/v1/catalog_pb.js";

/** What came of one region. */
export interface Outcome<T> {
  readonly region: string;
  readonly value?: T;
  readonly error?: MulliganError;
}

const EACH_MS = 10_000;

/** The regions that a client's own knows of, each with a client of its own, opened on demand. */
export class Regions {
  private readonly clients = new Map<string, Client>();

  constructor(
    private readonly home: Client,
    private readonly open: (region: Region) => Client,
  ) {}

  /** Return every region that the own one knows: internal ones as well for who is logged in. */
  async list(): Promise<Region[]> {
    const told = await this.home.publicRegions();
    const found = new Map(told.map((region) => [region.name, region]));
    if (this.home.canLogIn) {
      try {
        const { regions } = await this.home.meta.listRegions({});
        for (const region of regions) found.set(region.name, region);
      } catch (error) {
        if (!(error instanceof FailedPrecondition)) throw error; // older services list none
      }
    }
    return [...found.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** Return the client of a region, which ends with this one's; throw NotFound for unknown ones. */
  async client(name: string): Promise<Client> {
    const known = this.clients.get(name);
    if (known !== undefined) return known;
    const regions = await this.list();
    const region = regions.find((one) => one.name === name);
    if (name === this.home.region || region?.home) return this.home;
    if (region === undefined) {
      const names = regions.map((one) => one.name).join(", ") || "none";
      throw new NotFound(`region '${name}' was not found; known: ${names}`);
    }
    const client = this.clients.get(name) ?? this.open(region);
    this.clients.set(name, client);
    return client;
  }

  /**
   * Make the same call in each of the regions at once and return what came of it, in their order.
   *
   * One that is slow or away keeps none of the others waiting longer than the deadline.
   */
  each<T>(
    names: readonly string[],
    call: (client: Client, region: string) => Promise<T>,
    deadlineMs = EACH_MS,
  ): Promise<Outcome<T>[]> {
    return Promise.all(names.map((region) => this.one(region, call, deadlineMs)));
  }

  /** Close the clients that were opened. */
  close(): void {
    for (const client of this.clients.values()) client.close();
    this.clients.clear();
  }

  private async one<T>(
    region: string,
    call: (client: Client, region: string) => Promise<T>,
    deadlineMs: number,
  ): Promise<Outcome<T>> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new DeadlineExceeded(
        `region ${region} did not answer within ${deadlineMs / 1000} s`,
      );
      timer = setTimeout(() => reject(error), deadlineMs);
    });
    const work = this.client(region).then((client) => call(client, region));
    try {
      return { region, value: await Promise.race([work, late]) };
    } catch (error) {
      if (!(error instanceof MulliganError)) throw error;
      return { region, error };
    } finally {
      clearTimeout(timer);
      work.catch(() => undefined); // what comes too late is nobody's
    }
  }
}
