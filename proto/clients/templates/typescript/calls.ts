/** One call to whichever instance answers: routing, repeats, identity and positions. */

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import {
  clone,
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Client, Metadata, status as Status } from "@grpc/grpc-js";

import { Backoff } from "./backoff.js";
import type { Channels } from "./channels.js";
import type { Directory } from "./directory.js";
import {
  DeadlineExceeded,
  type Failure,
  failureOf,
  InvalidArgument,
  MulliganError,
  Unavailable,
  Untrusted,
} from "./errors.js";
import { AT_HEADER, ATTEMPT_MS, CONNECT_MS, PATIENCE_MS, RENEW_MS } from "./figures.js";
import type { Identity } from "./identity.js";
import type { Positions } from "./positions.js";
import { Resumption } from "./resume.js";
import { METHODS, type MethodFacts } from "./tables.js";
import { TRACE_HEADER, traceparentOf } from "./traces.js";
import { within } from "./within.js";

/** What a caller may say of one call. */
export interface CallOptions {
  /** Milliseconds for all attempts together; of a stream: without a message. */
  readonly timeoutMs?: number;
  /** Gives the call up; what was sent may still be carried out. */
  readonly signal?: AbortSignal;
  /** The span that the call is part of (W3C Trace Context), such as `00-4bf9…-00f0…-01`. */
  readonly traceparent?: string;
}

/** The entry as of which a call was answered, and when that was. */
export interface Shown {
  readonly seq: bigint;
  readonly at: string;
}

/** What the calls of one client share. */
export interface Parts {
  readonly directory: Directory;
  readonly channels: Channels;
  readonly positions: Positions;
  readonly identity?: Identity;
  readonly patienceMs?: number;
  /** The entry or time that everything is read as of; empty for now. */
  readonly at?: string;
  /** Make one attempt and no other. */
  readonly once?: boolean;
  /** Is told of requests that named something which the services do not find. */
  readonly missing?: (request: Message) => void;
  /** Tells which span is at work, for calls that are not told. */
  readonly traceparent?: () => string | undefined;
}

/**
 * Makes calls of any service of a region.
 *
 * Every mutation has a request id and every read names the position it must reflect, so each
 * attempt of a call is the same request, and a repeat is safe whatever became of the one before.
 */
export class Calls {
  shown: Shown | undefined;

  constructor(readonly parts: Parts) {}

  /** Send a request, again if need be, and return the answer; throw a MulliganError otherwise. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    const { route, facts, request } = this.begin(method, init);
    const pursuit = new Pursuit(this.parts, route, facts, options);
    for (;;) {
      let failure: Failure;
      try {
        const { address, metadata } = await pursuit.prepare();
        this.parts.positions.into(facts, request, this.parts.directory.region);
        const limit = Math.max(10, Math.min(ATTEMPT_MS, pursuit.backoff.left));
        const answer = await this.attempt(method, address, request, metadata, limit, options);
        this.parts.positions.note(facts, answer);
        return answer;
      } catch (error) {
        options.signal?.throwIfAborted();
        failure = pursuit.failureOf(error);
      }
      try {
        await pursuit.survive(failure);
      } catch (error) {
        if (error instanceof MulliganError && error.name === "NotFound") {
          this.parts.missing?.(request);
        }
        throw error;
      }
    }
  }

  /** Yield a stream's messages; go on after the last one where the stream can be resumed. */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    init: MessageInitShape<I>,
    options: CallOptions = {},
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    const { route, facts, request } = this.begin(method, init);
    const pursuit = new Pursuit(this.parts, route, facts, options);
    const resumption = new Resumption(facts, request);
    for (;;) {
      let failure: Failure;
      try {
        const { address, metadata } = await pursuit.prepare();
        await this.parts.channels.stand(address, CONNECT_MS);
        this.parts.positions.into(facts, request, this.parts.directory.region);
        for await (const message of this.streamAttempt(method, address, request, metadata, options)) {
          pursuit.backoff.restart();
          if (!resumption.isNew(message)) continue;
          this.parts.positions.note(facts, message);
          yield message;
        }
        if (!facts.endless) return;
        const ended = `${shownRoute(route)} ended, which it should not; its service is stopping`;
        failure = pursuit.failureOf(new Unavailable(ended));
      } catch (error) {
        options.signal?.throwIfAborted();
        failure = pursuit.failureOf(error);
      }
      if (!resumption.possible) throw failure.error;
      await pursuit.survive(failure);
    }
  }

  private begin<I extends DescMessage>(
    method: { readonly input: I; readonly name: string; readonly parent: { typeName: string } },
    init: MessageInitShape<I>,
  ): { route: string; facts: MethodFacts; request: MessageShape<I> } {
    const route = `/${method.parent.typeName}/${method.name}`;
    const facts = METHODS[route];
    if (facts === undefined) throw InvalidArgument.of("method", `${route} is not Mulligan's`);
    if (this.parts.at && !facts.reads) {
      const problem = `${shownRoute(route)} acts or tells of now; leave it out`;
      throw InvalidArgument.of(AT_HEADER, problem);
    }
    const request = clone(method.input, create(method.input, init));
    if (facts.requestId) {
      const mutation = request as Message & { requestId: string };
      mutation.requestId ||= newId();
    }
    return { route, facts, request };
  }

  private attempt<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    address: string,
    request: MessageShape<I>,
    metadata: Metadata,
    limitMs: number,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    options.signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const { route, write, read } = this.codec(method);
      const deadline = Date.now() + limitMs;
      const client: Client = this.parts.channels.to(address);
      const call = client.makeUnaryRequest(
        route,
        write,
        read,
        request,
        metadata,
        { deadline },
        (error, answer) => {
          options.signal?.removeEventListener("abort", abort);
          if (error !== null) reject(error);
          else resolve(answer as MessageShape<O>);
        },
      );
      const abort = (): void => call.cancel();
      options.signal?.addEventListener("abort", abort, { once: true });
      call.on("metadata", (received: Metadata) => this.noteMoment(received));
    });
  }

  private async *streamAttempt<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    address: string,
    request: MessageShape<I>,
    metadata: Metadata,
    options: CallOptions,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    options.signal?.throwIfAborted();
    const { route, write, read } = this.codec(method);
    const client: Client = this.parts.channels.to(address);
    const call = client.makeServerStreamRequest(route, write, read, request, metadata);
    const abort = (): void => call.cancel();
    options.signal?.addEventListener("abort", abort, { once: true });
    call.on("metadata", (received: Metadata) => this.noteMoment(received));
    call.on("error", () => undefined); // thrown by the iteration; once that is over, nobody's
    try {
      for await (const message of call) yield message as MessageShape<O>;
    } finally {
      options.signal?.removeEventListener("abort", abort);
      call.cancel();
    }
  }

  private codec<I extends DescMessage, O extends DescMessage>(method: {
    readonly input: I;
    readonly output: O;
    readonly name: string;
    readonly parent: { typeName: string };
  }) {
    return {
      route: `/${method.parent.typeName}/${method.name}`,
      write: (message: MessageShape<I>): Buffer => Buffer.from(toBinary(method.input, message)),
      read: (bytes: Buffer): MessageShape<O> => fromBinary(method.output, bytes),
    };
  }

  private noteMoment(received: Metadata): void {
    const [text] = received.get(AT_HEADER);
    const found = /^(\d+) (.+)$/.exec(String(text ?? ""));
    if (found?.[1] && found[2]) this.shown = { seq: BigInt(found[1]), at: found[2] };
  }
}

/** One call's way to its answer: the instance and token of this attempt, the time left. */
class Pursuit {
  readonly backoff: Backoff;
  private address = "";
  private token = "";
  private renewedAt = -Infinity;
  private readonly traceparent: string | undefined;
  private readonly patienceMs: number;

  constructor(
    private readonly parts: Parts,
    private readonly route: string,
    private readonly facts: MethodFacts,
    private readonly options: CallOptions,
  ) {
    this.patienceMs = options.timeoutMs ?? parts.patienceMs ?? PATIENCE_MS;
    this.backoff = new Backoff(this.patienceMs);
    this.traceparent = traceparentOf(options.traceparent, parts.traceparent?.());
  }

  /** Choose the instance and return the metadata to call it with, in the time that is left. */
  async prepare(): Promise<{ address: string; metadata: Metadata }> {
    this.parts.channels.requireOpen();
    const late = `the control plane did not answer in time (gave up after ${this.patienceMs / 1000} s)`;
    const limit = Math.max(10, this.backoff.left);
    return within(this.prepared(), limit, late, this.options.signal);
  }

  private async prepared(): Promise<{ address: string; metadata: Metadata }> {
    const { directory, identity, positions, at } = this.parts;
    this.address = "";
    this.address = await directory.pick(this.facts.service);
    const metadata = new Metadata();
    if (this.traceparent !== undefined) metadata.set(TRACE_HEADER, this.traceparent);
    if (this.facts.permission !== "public" && identity !== undefined) {
      this.token = await identity.accessToken();
      metadata.set("authorization", `Bearer ${this.token}`);
    }
    const header = { ...positions.header(directory.region), ...(at ? { [AT_HEADER]: at } : {}) };
    for (const [name, value] of Object.entries(header)) metadata.set(name, value);
    return { address: this.address, metadata };
  }

  /** Return what an attempt's error means. */
  failureOf(error: unknown): Failure {
    const { channels } = this.parts;
    return failureOf(error, shownRoute(this.route), this.address, channels.ca);
  }

  /** Wait for the next attempt; throw what the failure means if there shall be none. */
  async survive(failure: Failure): Promise<void> {
    const { directory, identity } = this.parts;
    const { error } = failure;
    if (error instanceof Untrusted || this.parts.once) throw error;
    const asked = error.retryAfterMs;
    if (failure.status !== undefined) {
      if (failure.status === Status.UNAUTHENTICATED && identity !== undefined) {
        const now = performance.now();
        const known = this.facts.permission === "public" || now - this.renewedAt < RENEW_MS;
        if (known) throw error;
        this.renewedAt = now;
        await identity.renew(this.token);
        return;
      }
      if (!isPassing(failure.status, asked)) throw error;
    } else if (!failure.broken && !(error instanceof Unavailable)) {
      throw error;
    }
    if (this.address && (failure.broken || error instanceof Unavailable)) {
      directory.failed(this.address);
      if (this.backoff.left > 0 && directory.hasHealthy(this.facts.service)) return;
    }
    const wait = this.backoff.next(asked);
    if (wait === undefined) throw this.exhausted(failure);
    await sleep(wait, undefined, { signal: this.options.signal }).catch((reason: unknown) => {
      this.options.signal?.throwIfAborted();
      throw reason;
    });
  }

  private exhausted(failure: Failure): MulliganError {
    const { error } = failure;
    const tried = `${error.message} (gave up after ${this.patienceMs / 1000} s)`;
    if (failure.late) return new DeadlineExceeded(tried);
    return error instanceof Unavailable ? new Unavailable(tried, error.details) : error;
  }
}

/** Tell whether the same request may succeed later without anybody changing it. */
export function isPassing(status: Status, askedMs: number | undefined): boolean {
  if (status === Status.UNAVAILABLE || status === Status.DEADLINE_EXCEEDED) return true;
  const asked = askedMs !== undefined;
  return asked && (status === Status.RESOURCE_EXHAUSTED || status === Status.ABORTED);
}

/** Return a route as people write it: `Control.DeployMachine`. */
export function shownRoute(route: string): string {
  return route.slice(route.lastIndexOf(".") + 1).replace("/", ".");
}

/** Make a UUIDv7 (RFC 9562): ordered by time, random in its lower 74 bits. */
export function newId(now: number = Date.now()): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(now, 0, 6);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join(
    "-",
  );
}
