package mulligan

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/grpc/metadata"
)

// traceHeader is the name of the metadata that carries the caller's span (W3C Trace Context).
const traceHeader = "traceparent"

var traceForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// WithTraceparent returns a context whose calls are part of a trace: a W3C traceparent, such as
// that of the span at work. What else put one into the outgoing metadata is replaced.
func WithTraceparent(ctx context.Context, traceparent string) context.Context {
	sent, _ := metadata.FromOutgoingContext(ctx)
	sent = sent.Copy()
	sent.Set(traceHeader, traceparent)
	return metadata.NewOutgoingContext(ctx, sent)
}

// NewTraceparent begins a trace, which services record.
func NewTraceparent() string {
	var ids [24]byte
	if _, err := rand.Read(ids[:]); err != nil {
		panic(err) // the system has no randomness, and nothing can be done safely without
	}
	return fmt.Sprintf("00-%x-%x-01", ids[:16], ids[16:])
}

// traced returns a context that is part of its caller's trace. Without one, a service begins it.
func traced(ctx context.Context, ask func(context.Context) string) context.Context {
	sent, _ := metadata.FromOutgoingContext(ctx)
	if given := sent.Get(traceHeader); len(given) == 1 && isTraceparent(given[0]) {
		return ctx
	}
	if ask != nil {
		if asked := ask(ctx); isTraceparent(asked) {
			return WithTraceparent(ctx, asked)
		}
	}
	if len(sent.Get(traceHeader)) > 0 {
		sent = sent.Copy()
		delete(sent, traceHeader)
		return metadata.NewOutgoingContext(ctx, sent)
	}
	return ctx
}

func isTraceparent(text string) bool {
	return traceForm.MatchString(text) && strings.Trim(text[3:35], "0") != "" &&
		strings.Trim(text[36:52], "0") != ""
}
