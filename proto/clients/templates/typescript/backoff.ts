/** How long to wait between two attempts: jittered, growing, bounded by the caller's deadline. */

import { FIRST_MS, GROWTH, LONGEST_MS } from "./figures.js";

/** The waits of one call, which may take `patienceMs` altogether. */
export class Backoff {
  private step = FIRST_MS;
  private until: number;

  constructor(
    private readonly patienceMs: number,
    private readonly clock: () => number = () => performance.now(),
    private readonly jitter: () => number = Math.random,
  ) {
    this.until = this.clock() + patienceMs;
  }

  /** Begin anew: something got through. */
  restart(): void {
    this.step = FIRST_MS;
    this.until = this.clock() + this.patienceMs;
  }

  /** Milliseconds until the patience ends; never below zero. */
  get left(): number {
    return Math.max(0, this.until - this.clock());
  }

  /**
   * Return the milliseconds to wait before the next attempt, or undefined when time is up.
   *
   * `asked` is what the service wants us to wait at least; it is jittered upwards so that those
   * who were refused together do not return together.
   */
  next(asked?: number): number | undefined {
    let wait: number;
    if (asked) {
      wait = asked * (1 + this.jitter() / 4);
    } else {
      wait = this.step * (0.5 + this.jitter() / 2);
      this.step = Math.min(this.step * GROWTH, LONGEST_MS);
    }
    return wait < this.left ? wait : undefined;
  }
}
