/** Waiting for what a machine does by itself. */

import { setTimeout as sleep } from "node:timers/promises";

import type { CallOptions } from "./calls.js";
import { DeadlineExceeded, FailedPrecondition, NotFound } from "./errors.js";
import { FIRST_LOOK_MS, LAST_LOOK_MS, MOVING_MS } from "./figures.js";
import { type Machine, MachineState } from "./gen/mulligan/v1/control_pb.js";
import type { Control } from "./services.js";

/** Return a machine once it rests in one of these states. */
export async function waitFor(
  control: Control,
  machine: string,
  states: readonly MachineState[],
  { timeoutMs = MOVING_MS, signal, traceparent }: CallOptions,
): Promise<Machine> {
  const until = performance.now() + timeoutMs;
  let pause = FIRST_LOOK_MS;
  for (;;) {
    const { machine: found } = await control.getMachine({ machine }, { signal, traceparent });
    if (found === undefined) throw new NotFound(`machine '${machine}' was not found`);
    if (found.operation === undefined) {
      if (states.includes(found.state)) return found;
      if (found.state === MachineState.FAILED) throw new FailedPrecondition(failureOf(found));
    }
    const left = until - performance.now();
    if (left <= 0) {
      const wanted = states.map((state) => MachineState[state].toLowerCase()).join(" or ");
      throw new DeadlineExceeded(
        `${found.name} is not ${wanted} after ${timeoutMs / 1000} s but ` +
          `${MachineState[found.state].toLowerCase()}; it goes on by itself`,
      );
    }
    await sleep(Math.min(pause, left), undefined, { signal }).catch((reason: unknown) => {
      signal?.throwIfAborted();
      throw reason;
    });
    pause = Math.min(pause * 1.3, LAST_LOOK_MS);
  }
}

function failureOf({ name, failedOperation, fault }: Machine): string {
  const what = fault ? `${fault.message || fault.fault} (step ${fault.step})` : "no reason recorded";
  return `${name} failed to ${failedOperation || "do its operation"}: ${what}`;
}
