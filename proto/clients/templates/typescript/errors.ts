/** Every error that a call can end with; the classes bear the names that they have in Python. */

import { fromBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { status as Status, type ServiceError } from "@grpc/grpc-js";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

/** One bad field of a request: its path in the message and what is wrong with it. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** What more a service said of an error. */
export interface Details {
  readonly violations: readonly FieldViolation[];
  readonly facts: Readonly<Record<string, string>>;
  readonly kind: string;
  readonly key: string;
  /** Milliseconds that the service asks us to wait before we try again. */
  readonly retryAfterMs?: number;
}

const NOTHING: Details = { violations: [], facts: {}, kind: "", key: "" };

/** Root of the tree; `message` is written for the person who sent the request. */
export class MulliganError extends Error {
  readonly details: Details;

  constructor(message: string, details: Details = NOTHING) {
    super(message);
    this.name = new.target.name;
    this.details = details;
  }

  /** Milliseconds that the service asks us to wait, if it does. */
  get retryAfterMs(): number | undefined {
    return this.details.retryAfterMs;
  }
}

/** The request is malformed; `violations` names each bad field. */
export class InvalidArgument extends MulliganError {
  get violations(): readonly FieldViolation[] {
    return this.details.violations;
  }

  /** Return the error of one field. */
  static of(field: string, description: string): InvalidArgument {
    const violations = [{ field, description }];
    return new InvalidArgument(`${field}: ${description}`, { ...NOTHING, violations });
  }
}
/** No such object, or none that this caller may know of. */
export class NotFound extends MulliganError {}
/** The name, object or request id is taken by something else. */
export class AlreadyExists extends MulliganError {}
/** The object is not in a state that allows this; the message names the next step. */
export class FailedPrecondition extends MulliganError {}
/** Somebody else changed it first; read again and retry. */
export class Conflict extends MulliganError {}
/** No capacity, quota or storage is left for this; `details.facts` say why. */
export class Exhausted extends MulliganError {}
/** There is no token, or it is not valid (any more). */
export class Unauthenticated extends MulliganError {}
/** The caller is known and may not do this. */
export class PermissionDenied extends MulliganError {}
/** A part we depend on is away; nothing is lost. */
export class Unavailable extends MulliganError {}
/** The other side is not whom we trust; trying again cannot help. */
export class Untrusted extends Unavailable {}
/** The time allowed for the call ran out; the outcome may be unknown. */
export class DeadlineExceeded extends MulliganError {}
/** Stored data contradicts itself. */
export class Corrupt extends MulliganError {}

/** Why an attempt failed, and what may be done about it. */
export interface Failure {
  readonly error: MulliganError;
  /** The instance went away, or never answered: it is not what the service said. */
  readonly broken: boolean;
  /** The attempt's own time was over. */
  readonly late: boolean;
  /** The gRPC status, where a service gave one. */
  readonly status?: Status;
}

const PLAIN: Partial<Record<Status, new (message: string, details: Details) => MulliganError>> = {
  [Status.ALREADY_EXISTS]: AlreadyExists,
  [Status.FAILED_PRECONDITION]: FailedPrecondition,
  [Status.OUT_OF_RANGE]: FailedPrecondition,
  [Status.ABORTED]: Conflict,
  [Status.UNAUTHENTICATED]: Unauthenticated,
  [Status.PERMISSION_DENIED]: PermissionDenied,
  [Status.DEADLINE_EXCEEDED]: DeadlineExceeded,
  [Status.CANCELLED]: Unavailable,
  [Status.DATA_LOSS]: Corrupt,
  [Status.NOT_FOUND]: NotFound,
  [Status.RESOURCE_EXHAUSTED]: Exhausted,
  [Status.UNAVAILABLE]: Unavailable,
};

const TORN = /RST_STREAM|HTTP\/2|ECONN|EPIPE|socket|goaway|No message received/i;
const LOCAL = /^No connection established|^Connection dropped|ECONN|EPIPE|socket hang up|^\d+ ms/i;
const LATE = /^Deadline exceeded after/;
const CERTIFICATE = /certificate|unable to (verify|get)|altname|CERT_|self.signed/i;
const NO_TLS = /wrong version number|packet length too long|http request|ssl3_get_record/i;

/** Return what a failed attempt means; throw on what is no failure of a call. */
export function failureOf(
  error: unknown,
  route: string,
  address: string,
  ca: string,
): Failure {
  if (error instanceof MulliganError) return { error, broken: false, late: false };
  if (!isServiceError(error)) throw error;
  const said = error.details || "";
  const torn =
    error.code === Status.CANCELLED || (error.code === Status.INTERNAL && TORN.test(said));
  if (error.code === Status.DEADLINE_EXCEEDED && LATE.test(said)) {
    const silent = new Unavailable(`${address || "the control plane"} did not answer in time`);
    return { error: silent, broken: true, late: true };
  }
  if (torn || (error.code === Status.UNAVAILABLE && LOCAL.test(said))) {
    return { error: transportError(plainly(said), address, ca), broken: true, late: false };
  }
  return { error: refusal(error, route), broken: false, late: false, status: error.code };
}

/** Return what the transport says without what it says of itself. */
function plainly(said: string): string {
  return said
    .replace(/^No connection established\. Last error: (Error(:| \[\w+\]:) )?/, "")
    .replace(/\.? *Resolution note:.*$/s, "");
}

function transportError(said: string, address: string, ca: string): Unavailable {
  if (CERTIFICATE.test(said)) {
    return new Untrusted(
      `the certificate of ${address} is not trusted (${said}): ` +
        `the CA is ${ca || "not set"}; get the control plane's ca.pem`,
    );
  }
  if (NO_TLS.test(said)) {
    return new Untrusted(
      `no TLS with ${address}: it speaks plain text; name it as http://HOST:PORT if that is meant`,
    );
  }
  if (said.includes("ECONNREFUSED")) {
    return new Unavailable(`nothing listens at ${address}; is Mulligan running there?`);
  }
  return new Unavailable(`the connection to ${address} failed: ${said}`);
}

function refusal(error: ServiceError, route: string): MulliganError {
  const details = detailsOf(error);
  const message = error.details || `${route} failed with ${Status[error.code]}`;
  if (error.code === Status.INVALID_ARGUMENT) {
    const { violations } = details;
    if (violations.length === 0) {
      const whole = { field: "request", description: message };
      return new InvalidArgument(message, { ...details, violations: [whole] });
    }
    const told = violations.map((one) => `${one.field}: ${one.description}`).join("; ");
    return new InvalidArgument(told, details);
  }
  if (error.code === Status.UNIMPLEMENTED) {
    return new FailedPrecondition(
      `the service does not know ${route}: it is older than this client; upgrade it`,
    );
  }
  const kind = PLAIN[error.code];
  if (kind !== undefined) return new kind(message, details);
  const status = Status[error.code].toLowerCase();
  return new MulliganError(`${message} (${status} from ${route}); see the service's log`, details);
}

function detailsOf(error: ServiceError): Details {
  const [packed] = error.metadata.get("grpc-status-details-bin");
  if (!(packed instanceof Uint8Array)) return NOTHING;
  let found: Details = NOTHING;
  for (const detail of fromBinary(StatusSchema, packed).details) found = withDetail(found, detail);
  return found;
}

function withDetail(found: Details, detail: Any): Details {
  const bad = anyUnpack(detail, BadRequestSchema);
  if (bad !== undefined) return { ...found, violations: bad.fieldViolations };
  const resource = anyUnpack(detail, ResourceInfoSchema);
  if (resource !== undefined) {
    return { ...found, kind: resource.resourceType, key: resource.resourceName };
  }
  const info = anyUnpack(detail, ErrorInfoSchema);
  if (info !== undefined) return { ...found, facts: info.metadata };
  const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
  if (delay === undefined) return found;
  return { ...found, retryAfterMs: Number(delay.seconds) * 1000 + delay.nanos / 1e6 };
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}
