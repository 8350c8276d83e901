package mulligan

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Stream yields messages; it goes on after the last one where it breaks and can be resumed.
type Stream[T proto.Message] struct {
	ctx     context.Context
	way     *pursuit
	resume  *resumption
	fresh   func() T
	current grpc.ClientStream
	cancel  context.CancelFunc
	err     error
}

func stream[T proto.Message](
	ctx context.Context, all *calls, route string, given proto.Message, fresh func() T,
) *Stream[T] {
	request, known, err := all.begin(route, given)
	ctx = traced(ctx, all.traceparent)
	return &Stream[T]{
		ctx: ctx, way: newPursuit(ctx, all, route, known), fresh: fresh, err: err,
		resume: &resumption{facts: known, request: request},
	}
}

// Recv returns the next message; io.EOF at the end of a stream that has one, or after Close.
func (one *Stream[T]) Recv() (T, error) {
	var none T
	for one.err == nil {
		message, err := one.receive()
		if err == nil {
			one.way.backoff.restart()
			if !one.resume.isNew(message) {
				continue
			}
			if one.way.facts.position {
				one.way.all.positions.note(message)
			}
			return message, nil
		}
		one.drop()
		one.err = one.goOn(err)
	}
	one.Close()
	return none, one.err
}

// Close ends the stream; a caller that reads it to its end, or ends its context, need not.
func (one *Stream[T]) Close() {
	one.drop()
	if one.err == nil {
		one.err = io.EOF
	}
}

func (one *Stream[T]) goOn(err error) error {
	if errors.Is(err, io.EOF) {
		if !one.way.facts.endless {
			return io.EOF
		}
		ended := shownRoute(one.way.route) + " ended, which it should not; its service is stopping"
		err = &Error{Kind: Unavailable, Message: ended}
	}
	if !one.resume.possible() && one.ctx.Err() == nil {
		return failureOf(err, shownRoute(one.way.route), one.way.address, one.way.all.channels.ca).err
	}
	return one.way.survive(one.ctx, err)
}

func (one *Stream[T]) receive() (T, error) {
	var none T
	if one.current == nil {
		if err := one.open(); err != nil {
			return none, err
		}
	}
	message := one.fresh()
	if err := one.current.RecvMsg(message); err != nil {
		return none, err
	}
	return message, nil
}

// open sends the request to the instance whose turn it is. The connection must stand soon; how
// long the first message takes is the service's affair.
func (one *Stream[T]) open() error {
	preparing, done := context.WithTimeout(one.ctx, one.way.patience)
	defer done()
	prepared, connection, err := one.way.prepare(preparing, one.resume.request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(withHeaders(one.ctx, prepared))
	one.cancel = cancel
	late := time.AfterFunc(figureConnect, cancel)
	opened, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, one.way.route)
	if !late.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return err
	}
	if err := opened.SendMsg(one.resume.request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := opened.CloseSend(); err != nil {
		return err
	}
	one.current = opened
	return nil
}

func (one *Stream[T]) drop() {
	if one.cancel != nil {
		one.cancel()
	}
	one.current, one.cancel = nil, nil
}
