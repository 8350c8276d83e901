/** Read-your-writes: the highest position seen in each region goes with every later read. */

import { create, type Message } from "@bufbuild/protobuf";

import { POSITION_HEADER } from "./figures.js";
import { type Freshness, FreshnessSchema, type Position } from "./gen/mulligan/v1/types_pb.js";
import type { MethodFacts } from "./tables.js";

/** The highest log position that this client has seen, by region. */
export class Positions {
  private readonly highest = new Map<string, bigint>();

  constructor(private readonly allowStale = false) {}

  /** The highest sequence number by region. */
  get seen(): ReadonlyMap<string, bigint> {
    return this.highest;
  }

  /** Remember the position of an answer that carries one. */
  note(facts: MethodFacts, answer: Message): void {
    if (!facts.position) return;
    const { position } = answer as Message & { position?: Position };
    if (position !== undefined && position.seq > (this.highest.get(position.region) ?? 0n)) {
      this.highest.set(position.region, position.seq);
    }
  }

  /** Return what makes any instance catch up with what was seen in `region`, if anything was. */
  header(region: string): Record<string, string> {
    const seq = this.highest.get(region);
    return seq && !this.allowStale ? { [POSITION_HEADER]: `${region}:${seq}` } : {};
  }

  /** Set what was seen in `region` as the least freshness of a request; a higher one stays. */
  into(facts: MethodFacts, request: Message, region: string): void {
    if (!facts.freshness) return;
    const reading = request as Message & { freshness?: Freshness };
    const given = reading.freshness;
    const seq = this.highest.get(region);
    let least = given?.atLeast;
    if (least !== undefined && least.region !== "" && least.region !== region) return;
    if (seq && (least === undefined || least.seq < seq)) {
      least = { $typeName: "@PACKAGE@.Position", region, seq };
    }
    const allowStale = this.allowStale || (given?.allowStale ?? false);
    if (least === undefined && !allowStale) return;
    reading.freshness = create(FreshnessSchema, { atLeast: least, allowStale });
  }
}
