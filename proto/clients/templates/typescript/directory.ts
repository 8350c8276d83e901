/** Which instance to call: the Catalog's list, taken in turn, those that failed last. */

import { Unavailable, InvalidArgument, MulliganError } from "./errors.js";
import { COOL_DOWN_MS, PAUSE_MS } from "./figures.js";
import type { Endpoint, ListEndpointsResponse, Region } from "./gen/mulligan/v1/catalog_pb.js";

/** Asks one address for the endpoints. */
export type Ask = (address: string) => Promise<ListEndpointsResponse>;

/** The endpoints of one region, found through any address of it. */
export class Directory {
  private known: Endpoint[] = [];
  private neighbours: Region[] = [];
  private stale = true;
  private askedAt = -Infinity;
  private asking: Promise<void> = Promise.resolve();
  private readonly turn = new Map<string, number>();
  private readonly failedAt = new Map<string, number>();

  /** An empty `region` takes the region that the first answer comes from. */
  constructor(
    private readonly seeds: readonly string[],
    private readonly ask: Ask,
    public region = "",
    private readonly clock: () => number = () => performance.now(),
  ) {
    if (seeds.length === 0) throw InvalidArgument.of("address", "at least one address is needed");
  }

  /** Ask the Catalog for every endpoint of every region it knows. */
  async endpoints(): Promise<readonly Endpoint[]> {
    await this.refresh(true);
    return [...this.known];
  }

  /** Ask the Catalog for the regions that it knows and that are public. */
  async regions(): Promise<readonly Region[]> {
    await this.refresh(true);
    return [...this.neighbours];
  }

  /** Return the address of the instance of `service` whose turn it is. */
  async pick(service: string): Promise<string> {
    if (service === "catalog") return this.inTurn(service, this.seeds);
    if (this.stale) await this.refresh(false);
    const found = this.serving(service);
    if (found.length === 0) {
      this.stale = true;
      const where = this.region ? `region ${this.region}` : "any region";
      throw new Unavailable(`no ${service} service is registered in ${where}; is it running?`);
    }
    return this.inTurn(service, found);
  }

  /** Pass the address over for a while, and look for new ones. */
  failed(address: string): void {
    this.failedAt.set(address, this.clock());
    this.stale = true;
  }

  /** Tell whether an instance is known that has not just failed. */
  hasHealthy(service: string): boolean {
    const known = service === "catalog" ? this.seeds : this.serving(service);
    return known.some((address) => this.isHealthy(address));
  }

  private serving(service: string): string[] {
    return this.known
      .filter((one) => one.service === service && ["", this.region].includes(one.region))
      .map((one) => one.address)
      .sort();
  }

  private inTurn(service: string, addresses: readonly string[]): string {
    const healthy = addresses.filter((address) => this.isHealthy(address));
    const from = healthy.length > 0 ? healthy : addresses;
    const turn = (this.turn.get(service) ?? -1) + 1;
    this.turn.set(service, turn);
    return from[turn % from.length] as string;
  }

  private isHealthy(address: string): boolean {
    const failedAt = this.failedAt.get(address);
    return failedAt === undefined || this.clock() - failedAt > COOL_DOWN_MS;
  }

  private refresh(force: boolean): Promise<void> {
    const turn = this.asking.then(() => this.refreshNow(force));
    this.asking = turn.catch(() => undefined);
    return turn;
  }

  private async refreshNow(force: boolean): Promise<void> {
    const recent = this.clock() - this.askedAt < PAUSE_MS;
    if (!force && (!this.stale || (recent && this.known.length > 0))) return;
    this.askedAt = this.clock();
    try {
      await this.askAll();
    } catch (error) {
      if (force || this.known.length === 0 || !(error instanceof Unavailable)) throw error;
    }
  }

  private async askAll(): Promise<void> {
    const more = [...new Set(this.known.map((one) => one.address))].sort();
    const all = [...this.seeds, ...more.filter((address) => !this.seeds.includes(address))];
    const sorted = [
      ...all.filter((address) => this.isHealthy(address)),
      ...all.filter((address) => !this.isHealthy(address)),
    ];
    let failure: MulliganError | undefined;
    for (const address of sorted) {
      try {
        const answer = await this.ask(address);
        this.known = answer.endpoints;
        this.neighbours = answer.regions;
        this.region ||= answer.region;
        this.stale = false;
        this.forget();
        return;
      } catch (error) {
        if (!(error instanceof MulliganError)) throw error;
        if (error instanceof Unavailable) this.failedAt.set(address, this.clock());
        failure = error;
      }
    }
    if (failure instanceof Unavailable) throw failure;
    throw new Unavailable(`no address answers as Mulligan does: ${failure?.message ?? ""}`);
  }

  /** Addresses whose failure is long past need no memory. */
  private forget(): void {
    for (const address of this.failedAt.keys()) {
      if (this.isHealthy(address)) this.failedAt.delete(address);
    }
  }
}
