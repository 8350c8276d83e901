/** Lists longer than a page, as one stream. */

import { PAGE_SIZE } from "./figures.js";

/** Yield the items of all pages, or the first `limit` of them; `ask` gets one page. */
export async function* everyItem<Item>(
  ask: (size: number, token: string) => Promise<{ items: readonly Item[]; next: string }>,
  limit = 0,
): AsyncGenerator<Item, void, undefined> {
  let token = "";
  let given = 0;
  do {
    const { items, next } = await ask(limit ? Math.min(PAGE_SIZE, limit - given) : PAGE_SIZE, token);
    for (const item of items) {
      yield item;
      given += 1;
      if (limit && given >= limit) return;
    }
    token = next;
  } while (token !== "");
}
