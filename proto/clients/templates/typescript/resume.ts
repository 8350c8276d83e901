/** How a broken stream goes on: from the last record seen, without gaps or repeats. */

import type { Message } from "@bufbuild/protobuf";

import type { Position } from "./gen/mulligan/v1/types_pb.js";
import type { MethodFacts } from "./tables.js";

interface Record_ extends Message {
  position?: Position;
  commit: string;
}

/** One stream's way to its end over any number of attempts. */
export class Resumption {
  private begun = false;
  private last = 0n;
  private readonly commits = new Set<string>();

  constructor(
    private readonly facts: MethodFacts,
    private readonly request: Message,
  ) {}

  /** Whether sending the request (again) gives what is missing and no more. */
  get possible(): boolean {
    return this.facts.resume !== "again" || !this.begun;
  }

  /**
   * Note a message, and in the request where to go on after it; tell whether it is no repeat.
   *
   * An entry of the log holds several records, so the last entry is read again and sifted.
   */
  isNew(message: Message): boolean {
    this.begun = true;
    const { resume } = this.facts;
    if (resume !== "after" && resume !== "first") return true;
    const record = message as Record_;
    if (record.position === undefined) return true;
    const { seq } = record.position;
    if (seq < this.last || (seq === this.last && this.commits.has(record.commit))) return false;
    if (seq > this.last) {
      this.last = seq;
      this.commits.clear();
      this.goOnFrom(seq);
    }
    this.commits.add(record.commit);
    return true;
  }

  private goOnFrom(seq: bigint): void {
    if (this.facts.resume === "after") {
      const watch = this.request as Message & { after: bigint; fromHead: boolean };
      watch.after = seq - 1n;
      watch.fromHead = false;
    } else {
      (this.request as Message & { first: bigint }).first = seq;
    }
  }
}
