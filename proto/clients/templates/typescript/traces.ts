/** Which trace a call is part of: W3C Trace Context. */

import { randomBytes } from "node:crypto";

/** The name of the metadata that carries the caller's span. */
export const TRACE_HEADER = "traceparent";

const FORM = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Return the first of the texts that is a traceparent; without one, a service begins the trace. */
export function traceparentOf(...given: readonly (string | undefined)[]): string | undefined {
  return given.find((text) => text !== undefined && FORM.test(text));
}

/** Begin a trace, which services record: every call that is given this is part of it. */
export function newTraceparent(): string {
  return `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`;
}
