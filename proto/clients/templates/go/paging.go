package mulligan

import v1 "@MESSAGES@"

// Items goes through a list that is longer than a page. Use it so:
//
//	for items.Next() {
//		use(items.Item())
//	}
//	return items.Err()
type Items[T any] struct {
	limit, given int
	token        string
	ask          func(*v1.Page) ([]T, string, error)
	page         []T
	item         T
	ended        bool
	err          error
}

func newItems[T any](limit int, ask func(*v1.Page) ([]T, string, error)) *Items[T] {
	return &Items[T]{limit: limit, ask: ask}
}

// Next goes to the next item and asks for the next page where need be; false at the end.
func (items *Items[T]) Next() bool {
	for len(items.page) == 0 {
		if items.ended || items.limit > 0 && items.given >= items.limit {
			return false
		}
		size := figurePageSize
		if items.limit > 0 && items.limit-items.given < size {
			size = items.limit - items.given
		}
		items.page, items.token, items.err = items.ask(&v1.Page{Size: int32(size), Token: items.token})
		items.ended = items.err != nil || items.token == ""
	}
	if items.limit > 0 && items.given >= items.limit {
		return false
	}
	items.item, items.page = items.page[0], items.page[1:]
	items.given++
	return true
}

// Item returns the item that Next has gone to.
func (items *Items[T]) Item() T { return items.item }

// Err returns why Next ended, or nil at the end of the list.
func (items *Items[T]) Err() error { return items.err }
