/** The smart client of Mulligan: one address in, the whole control plane out. */

export type { CallOptions, Shown } from "./calls.js";
export { newId } from "./calls.js";
export { Client, type ClientOptions, secretIn } from "./client.js";
export {
  AlreadyExists,
  Conflict,
  Corrupt,
  DeadlineExceeded,
  type Details,
  Exhausted,
  FailedPrecondition,
  type FieldViolation,
  InvalidArgument,
  MulliganError,
  NotFound,
  PermissionDenied,
  Unauthenticated,
  Unavailable,
  Untrusted,
} from "./errors.js";
export type { Tokens } from "./identity.js";
export { type Outcome, Regions } from "./regions.js";
export * from "./services.js";
export * as v1 from "./v1.js";
export { METHODS, type MethodFacts } from "./tables.js";
export { newTraceparent } from "./traces.js";
