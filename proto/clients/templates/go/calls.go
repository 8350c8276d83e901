package mulligan

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Shown is the entry as of which a call was answered, and when that was.
type Shown struct {
	Seq uint64
	At  time.Time
}

// calls makes calls of any service of a region.
//
// Every mutation has a request id and every read names the position it must reflect, so each
// attempt of a call is the same request, and a repeat is safe whatever became of the one before.
type calls struct {
	directory *directory
	channels  *channels
	positions *positions
	identity  *identity
	patience  time.Duration
	at        string
	// once: make one attempt and no other.
	once bool
	// traceparent tells which span is at work, where the context does not.
	traceparent func(context.Context) string
	// missing is told of requests that named something which the services do not find.
	missing func(proto.Message)

	guard sync.Mutex
	shown *Shown
}

// unary sends a request, again if need be, and returns the answer.
func unary[R proto.Message](
	ctx context.Context, all *calls, route string, given proto.Message, answer R,
) (R, error) {
	var none R
	request, known, err := all.begin(route, given)
	if err != nil {
		return none, err
	}
	ctx = traced(ctx, all.traceparent)
	way := newPursuit(ctx, all, route, known)
	for {
		err := way.attempt(ctx, request, answer)
		if err == nil {
			if known.position {
				all.positions.note(answer)
			}
			return answer, nil
		}
		if err = way.survive(ctx, err); err != nil {
			if all.missing != nil && errors.Is(err, NotFound) {
				all.missing(request)
			}
			return none, err
		}
	}
}

// begin returns a copy of the request that every attempt sends.
func (all *calls) begin(route string, given proto.Message) (proto.Message, facts, error) {
	known := methods[route]
	if all.at != "" && !known.reads {
		problem := shownRoute(route) + " acts or tells of now; leave it out"
		return nil, known, invalid(figureAtHeader, problem)
	}
	request := copyOf(given)
	if known.requestID && request.(interface{ GetRequestId() string }).GetRequestId() == "" {
		set(request, "request_id", protoreflect.ValueOfString(NewID()))
	}
	return request, known, nil
}

func (all *calls) noteMoment(received metadata.MD) {
	texts := received.Get(figureAtHeader)
	if len(texts) == 0 {
		return
	}
	seq, at, _ := strings.Cut(texts[0], " ")
	number, problem := strconv.ParseUint(seq, 10, 64)
	moment, err := time.Parse(time.RFC3339Nano, at)
	if problem != nil || err != nil {
		return
	}
	all.guard.Lock()
	defer all.guard.Unlock()
	all.shown = &Shown{Seq: number, At: moment}
}

// pursuit is one call's way to its answer: the instance and token of this attempt, the time left.
type pursuit struct {
	all       *calls
	route     string
	facts     facts
	backoff   *backoff
	patience  time.Duration
	address   string
	token     string
	renewedAt time.Time
}

// newPursuit takes a context's deadline for the time of all attempts, else the client's patience.
func newPursuit(ctx context.Context, all *calls, route string, known facts) *pursuit {
	patience := all.patience
	if until, ok := ctx.Deadline(); ok && !known.streaming {
		patience = time.Until(until)
	}
	return &pursuit{
		all: all, route: route, facts: known, patience: patience, backoff: newBackoff(patience),
	}
}

// prepare chooses the instance and returns the connection and context to call it with.
func (way *pursuit) prepare(
	ctx context.Context, request proto.Message,
) (context.Context, *grpc.ClientConn, error) {
	if err := way.all.channels.usable(); err != nil {
		return nil, nil, err
	}
	way.address = ""
	address, err := way.all.directory.pick(ctx, way.facts.service)
	if err != nil {
		return nil, nil, err
	}
	way.address = address
	connection, err := way.all.channels.to(address)
	if err != nil {
		return nil, nil, err
	}
	if way.facts.permission != "public" && way.all.identity != nil {
		if way.token, err = way.all.identity.accessToken(ctx); err != nil {
			return nil, nil, err
		}
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+way.token)
	}
	region := way.all.directory.name()
	if header := way.all.positions.header(region); header != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, figurePositionHeader, header)
	}
	if way.all.at != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, figureAtHeader, way.all.at)
	}
	if way.facts.freshness {
		way.all.positions.into(request, region)
	}
	return ctx, connection, nil
}

func (way *pursuit) attempt(ctx context.Context, request, answer proto.Message) error {
	limit := way.backoff.left()
	if limit < 10*time.Millisecond {
		limit = 10 * time.Millisecond
	}
	preparing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	prepared, connection, err := way.prepare(preparing, request)
	if err != nil {
		return err
	}
	limited, done := context.WithTimeout(prepared, figureAttempt)
	defer done()
	var received metadata.MD
	err = connection.Invoke(limited, way.route, request, answer, grpc.Header(&received))
	way.all.noteMoment(received)
	return err
}

// survive waits for the next attempt; it returns what the error means if there shall be none.
func (way *pursuit) survive(ctx context.Context, cause error) error {
	failed := failureOf(cause, shownRoute(way.route), way.address, way.all.channels.ca)
	if over := ctx.Err(); over != nil {
		if !errors.Is(over, context.DeadlineExceeded) {
			return over
		}
		tried := fmt.Sprintf("%s (gave up when the context's time was over)", failed.err.Message)
		return &Error{Kind: DeadlineExceeded, Message: tried, cause: over}
	}
	if failed.err.Kind == Untrusted || way.all.once {
		return failed.err
	}
	asked := failed.err.RetryAfter
	if failed.said {
		if failed.code == codes.Unauthenticated && way.all.identity != nil {
			recent := !way.renewedAt.IsZero() && time.Since(way.renewedAt) < figureRenew
			if way.facts.permission == "public" || recent {
				return failed.err
			}
			way.renewedAt = time.Now()
			return way.all.identity.renew(ctx, way.token)
		}
		if !isPassing(failed.code, asked) {
			return failed.err
		}
	} else if !failed.broken && failed.err.Kind != Unavailable {
		return failed.err
	}
	if way.address != "" && (failed.broken || failed.err.Kind == Unavailable) {
		way.all.directory.failed(way.address)
		if way.backoff.left() > 0 && way.all.directory.hasHealthy(way.facts.service) {
			return nil
		}
	}
	wait, ok := way.backoff.next(asked)
	if !ok {
		return way.exhausted(failed)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return way.survive(ctx, failed.err)
	}
}

func (way *pursuit) exhausted(failed failure) error {
	tried := fmt.Sprintf("%s (gave up after %s)", failed.err.Message, way.patience)
	if failed.late {
		return &Error{Kind: DeadlineExceeded, Message: tried}
	}
	if failed.err.Kind == Unavailable {
		return &Error{Kind: Unavailable, Message: tried, RetryAfter: failed.err.RetryAfter}
	}
	return failed.err
}

// isPassing tells whether the same request may succeed later without anybody changing it.
func isPassing(code codes.Code, asked time.Duration) bool {
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	case codes.ResourceExhausted, codes.Aborted:
		return asked > 0
	}
	return false
}

// shownRoute returns a route as people write it: Control.DeployMachine.
func shownRoute(route string) string {
	return strings.Replace(route[strings.LastIndex(route, ".")+1:], "/", ".", 1)
}

// NewID makes a UUIDv7 (RFC 9562): ordered by time, random in its lower 74 bits.
func NewID() string {
	var id [16]byte
	if _, err := rand.Read(id[6:]); err != nil {
		panic(err) // the system has no randomness, and nothing can be done safely without
	}
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(time.Now().UnixMilli()))
	copy(id[:6], millis[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
