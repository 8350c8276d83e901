package mulligan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind is a class of errors, with the name that it has in every language. It is an error itself, to
// ask for with errors.Is(err, mulligan.NotFound).
type Kind string

// Every class of errors that a call can end with.
const (
	// InvalidArgument: the request is malformed; Violations names each bad field.
	InvalidArgument Kind = "InvalidArgument"
	// NotFound: no such object, or none that this caller may know of.
	NotFound Kind = "NotFound"
	// AlreadyExists: the name, object or request id is taken by something else.
	AlreadyExists Kind = "AlreadyExists"
	// FailedPrecondition: the object is not in a state that allows this.
	FailedPrecondition Kind = "FailedPrecondition"
	// Conflict: somebody else changed it first; read again and retry.
	Conflict Kind = "Conflict"
	// Exhausted: no capacity, quota or storage is left for this; Facts say why.
	Exhausted Kind = "Exhausted"
	// Unauthenticated: there is no token, or it is not valid (any more).
	Unauthenticated Kind = "Unauthenticated"
	// PermissionDenied: the caller is known and may not do this.
	PermissionDenied Kind = "PermissionDenied"
	// Unavailable: a part we depend on is away; nothing is lost.
	Unavailable Kind = "Unavailable"
	// Untrusted: the other side is not whom we trust. It counts as Unavailable as well.
	Untrusted Kind = "Untrusted"
	// DeadlineExceeded: the time allowed ran out; the outcome may be unknown.
	DeadlineExceeded Kind = "DeadlineExceeded"
	// Corrupt: stored data contradicts itself.
	Corrupt Kind = "Corrupt"
	// Unexpected is everything else; see the service's log.
	Unexpected Kind = "MulliganError"
)

// Error returns the name of the class.
func (kind Kind) Error() string { return string(kind) }

// FieldViolation is one bad field of a request: its path in the message and what is wrong with it.
type FieldViolation struct {
	Field, Description string
}

// Error is what every method returns when it fails; Message is written for who sent the request.
type Error struct {
	Kind       Kind
	Message    string
	Violations []FieldViolation
	// Facts say to a program why there was no room.
	Facts map[string]string
	// ResourceKind and ResourceKey name what was not found, where the service says it.
	ResourceKind, ResourceKey string
	// RetryAfter is how long the service asks us to wait; zero where it does not ask.
	RetryAfter time.Duration

	cause error
}

// Error returns the message.
func (err *Error) Error() string { return err.Message }

// Unwrap returns what is below, such as a context's error.
func (err *Error) Unwrap() error { return err.cause }

// Is tells whether this is of the class target.
func (err *Error) Is(target error) bool {
	kind, ok := target.(Kind)
	return ok && (kind == err.Kind || kind == Unavailable && err.Kind == Untrusted)
}

func invalid(field, problem string) *Error {
	return &Error{
		Kind:       InvalidArgument,
		Message:    field + ": " + problem,
		Violations: []FieldViolation{{field, problem}},
	}
}

// failure is why an attempt failed, and what may be done about it.
type failure struct {
	err *Error
	// broken: the instance went away, or never answered: it is not what the service said.
	broken bool
	// late: the attempt's own time was over.
	late bool
	// said: a service gave the status code.
	said bool
	code codes.Code
}

var plain = map[codes.Code]Kind{
	codes.AlreadyExists:      AlreadyExists,
	codes.FailedPrecondition: FailedPrecondition,
	codes.OutOfRange:         FailedPrecondition,
	codes.Aborted:            Conflict,
	codes.Unauthenticated:    Unauthenticated,
	codes.PermissionDenied:   PermissionDenied,
	codes.DeadlineExceeded:   DeadlineExceeded,
	codes.Canceled:           Unavailable,
	codes.DataLoss:           Corrupt,
	codes.NotFound:           NotFound,
	codes.ResourceExhausted:  Exhausted,
	codes.Unavailable:        Unavailable,
}

// failureOf returns what a failed attempt means; the caller's context is not over.
func failureOf(err error, route, address, ca string) failure {
	var known *Error
	if errors.As(err, &known) {
		return failure{err: known}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return silent(address)
	}
	told, _ := status.FromError(err)
	message := told.Message()
	switch told.Code() {
	case codes.DeadlineExceeded:
		if strings.Contains(message, "context deadline exceeded") {
			return silent(address)
		}
	case codes.Canceled, codes.Internal:
		if told.Code() == codes.Canceled || isTorn(message) {
			return failure{err: transportError(message, address, ca), broken: true}
		}
	case codes.Unavailable:
		if isLocal(message) {
			return failure{err: transportError(message, address, ca), broken: true}
		}
	}
	return failure{err: refusal(told, route), said: true, code: told.Code()}
}

func silent(address string) failure {
	if address == "" {
		address = "the control plane"
	}
	err := &Error{Kind: Unavailable, Message: address + " did not answer in time"}
	return failure{err: err, broken: true, late: true}
}

func containsAny(text string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

func isTorn(message string) bool {
	return containsAny(message, "RST_STREAM", "transport", "unexpected EOF", "GOAWAY", "stream terminated")
}

func isLocal(message string) bool {
	return containsAny(message, "transport", "connection", "SubConn", "GOAWAY", "unexpected EOF")
}

func transportError(message, address, ca string) *Error {
	switch {
	case strings.Contains(message, "first record does not look like a TLS handshake"):
		return &Error{Kind: Untrusted, Message: fmt.Sprintf(
			"no TLS with %s: it speaks plain text; name it as http://HOST:PORT if that is meant", address)}
	case containsAny(message, "x509", "certificate"):
		if ca == "" {
			ca = "not set"
		}
		return &Error{Kind: Untrusted, Message: fmt.Sprintf(
			"the certificate of %s is not trusted (%s): the CA is %s; get the control plane's ca.pem",
			address, message, ca)}
	case strings.Contains(message, "connection refused"):
		return &Error{Kind: Unavailable, Message: fmt.Sprintf(
			"nothing listens at %s; is Mulligan running there?", address)}
	}
	return &Error{Kind: Unavailable, Message: fmt.Sprintf(
		"the connection to %s failed: %s", address, message)}
}

func refusal(told *status.Status, route string) *Error {
	err := &Error{Message: told.Message()}
	if err.Message == "" {
		err.Message = fmt.Sprintf("%s failed with %s", route, told.Code())
	}
	for _, detail := range told.Details() {
		err.add(detail)
	}
	kind, known := plain[told.Code()]
	switch {
	case told.Code() == codes.InvalidArgument:
		err.Kind = InvalidArgument
		if err.Violations == nil {
			err.Violations = []FieldViolation{{"request", err.Message}}
			break
		}
		texts := make([]string, len(err.Violations))
		for number, one := range err.Violations {
			texts[number] = one.Field + ": " + one.Description
		}
		err.Message = strings.Join(texts, "; ")
	case told.Code() == codes.Unimplemented:
		err.Kind = FailedPrecondition
		err.Message = fmt.Sprintf(
			"the service does not know %s: it is older than this client; upgrade it", route)
	case known:
		err.Kind = kind
	default:
		err.Kind = Unexpected
		err.Message = fmt.Sprintf("%s (%s from %s); see the service's log",
			err.Message, strings.ToLower(told.Code().String()), route)
	}
	return err
}

func (err *Error) add(detail interface{}) {
	switch detail := detail.(type) {
	case *errdetails.BadRequest:
		for _, one := range detail.GetFieldViolations() {
			err.Violations = append(err.Violations, FieldViolation{one.GetField(), one.GetDescription()})
		}
	case *errdetails.ResourceInfo:
		err.ResourceKind, err.ResourceKey = detail.GetResourceType(), detail.GetResourceName()
	case *errdetails.ErrorInfo:
		err.Facts = detail.GetMetadata()
	case *errdetails.RetryInfo:
		delay := detail.GetRetryDelay()
		err.RetryAfter = time.Duration(delay.GetSeconds())*time.Second + time.Duration(delay.GetNanos())
	}
}
