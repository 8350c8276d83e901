/** Names of objects both ways, with what was looked up kept for a while. */

import { type Message } from "@bufbuild/protobuf";

import { NotFound } from "./errors.js";
import { ABSENT_LIFE_MS, BATCH, KEPT, LIFE_MS } from "./figures.js";
import type { Name } from "./gen/mulligan/v1/meta_pb.js";
import type { Meta } from "./services.js";

interface Entry {
  readonly name: Name | undefined;
  readonly until: number;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Looks names up through the Meta service. An answer may be up to a minute old. */
export class Names {
  private readonly entries = new Map<string, Entry>();
  private readonly asking = new Map<string, Promise<Name | undefined>>();

  constructor(
    private readonly meta: Pick<Meta, "resolve" | "describe">,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /**
   * Return the UUID of a name or slug; throw NotFound when nothing has it.
   *
   * `project` is the scope for kinds that are named by project, the caller's by default. A UUID is
   * returned as it is, whether or not something has it.
   */
  async resolve(kind: string, name: string, project = ""): Promise<string> {
    if (UUID.test(name)) return name;
    const slug = slugOf(name);
    const key = JSON.stringify([kind, project, slug]);
    const held = this.held(key);
    const found = held === undefined ? await this.ask(key, kind, project, slug) : held.name;
    if (found === undefined) throw new NotFound(`${kind} '${name}' was not found`);
    return found.uuid;
  }

  /** Return what objects are called, by UUID; those without a name are left out. */
  async describe(uuids: Iterable<string>): Promise<Map<string, Name>> {
    const found = new Map<string, Name>();
    const wanted: string[] = [];
    for (const uuid of new Set(uuids)) {
      const held = this.held(uuid);
      if (held === undefined) wanted.push(uuid);
      else if (held.name !== undefined) found.set(uuid, held.name);
    }
    for (let start = 0; start < wanted.length; start += BATCH) {
      const batch = wanted.slice(start, start + BATCH);
      const named = new Map(
        (await this.meta.describe({ uuids: batch })).names.map((name) => [name.uuid, name]),
      );
      for (const uuid of batch) {
        const name = named.get(uuid);
        this.keep(uuid, name);
        if (name !== undefined) found.set(uuid, name);
      }
    }
    return found;
  }

  /** Drop what is known of UUIDs, or of names in any scope. */
  forget(texts: Iterable<string>): void {
    const gone = new Set([...texts].map(slugOf));
    for (const [key, { name }] of this.entries) {
      const named = key.startsWith("[") ? String((JSON.parse(key) as string[])[2]) : key;
      if (gone.has(named) || (name !== undefined && gone.has(name.uuid))) this.entries.delete(key);
    }
  }

  private ask(
    key: string,
    kind: string,
    project: string,
    slug: string,
  ): Promise<Name | undefined> {
    let asked = this.asking.get(key);
    if (asked === undefined) {
      asked = this.askNow(key, kind, project, slug).finally(() => this.asking.delete(key));
      this.asking.set(key, asked);
    }
    return asked;
  }

  private async askNow(
    key: string,
    kind: string,
    project: string,
    slug: string,
  ): Promise<Name | undefined> {
    const { names } = await this.meta.resolve({ kind, names: [slug], project });
    const name = names.find((one) => one.slug === slug); // of two scopes the nearer comes first
    this.keep(key, name);
    if (name !== undefined) this.keep(name.uuid, name);
    return name;
  }

  private held(key: string): Entry | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.until <= this.clock()) return undefined;
    this.entries.delete(key); // what was used last stands last
    this.entries.set(key, entry);
    return entry;
  }

  private keep(key: string, name: Name | undefined): void {
    const life = name === undefined ? ABSENT_LIFE_MS : LIFE_MS;
    this.entries.delete(key);
    this.entries.set(key, { name, until: this.clock() + life });
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= KEPT) break;
      this.entries.delete(oldest);
    }
  }
}

/** Return the URI-clean form of a name, by which it is looked up. */
export function slugOf(name: string): string {
  return name.replace(/[ _]+/g, "-").toLowerCase();
}

/** Yield every text in a message, however deep. */
export function* textsOf(value: unknown): Generator<string> {
  if (typeof value === "string") yield value;
  else if (Array.isArray(value)) for (const one of value) yield* textsOf(one);
  else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    for (const [field, one] of Object.entries(value as Message)) {
      if (!field.startsWith("$")) yield* textsOf(one);
    }
  }
}
