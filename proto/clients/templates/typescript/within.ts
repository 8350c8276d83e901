/** Waiting no longer than the caller does. */

import { DeadlineExceeded } from "./errors.js";

/**
 * Return what a promise comes to, unless the time or the caller's patience ends first.
 *
 * What was begun goes on: a login or a look into the Catalog is for other calls, too.
 */
export async function within<Result>(
  promise: Promise<Result>,
  limitMs: number,
  late: string,
  signal?: AbortSignal,
): Promise<Result> {
  signal?.throwIfAborted();
  let end = (): void => undefined;
  const over = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(new DeadlineExceeded(late)), limitMs);
    const abort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    end();
  }
}
