// Package mulligan is the smart client of Mulligan: one address in, the whole control plane out.
//
// It finds the services through the Catalog, balances over their instances and fails over, logs in
// and keeps its tokens fresh, repeats what is safe under the same request id, waits out restarts,
// carries positions so that it reads what it wrote, and keeps names that were looked up for a
// minute.
package mulligan

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	v1 "@MESSAGES@"
)

const plaintextPrefix = "http://"

// Options say where a control plane is, and who we are there. Paths are of PEM files.
type Options struct {
	// Address lists host:port of any services; one is enough. http:// does without TLS.
	Address []string
	// CA is the path of what vouches for the services; none: the system's trust store.
	CA string
	// CAPEM is the CA itself, instead of its path.
	CAPEM   []byte
	Account string
	Secret  string
	// Project is a name or UUID; empty logs in to the system.
	Project string
	// Region is empty for the one that the address belongs to.
	Region string
	// Cert and Key are a client certificate, which logs in where there is no secret.
	Cert, Key string
	// Patience is how long a call waits out restarts; 0 takes the usual time.
	Patience time.Duration
	// AllowStale lets reads answer from a read model that lags.
	AllowStale bool
	// Traceparent tells which span is at work (W3C Trace Context) where a call's context has none
	// from WithTraceparent. Without one, the services begin the trace, and decide whether it is
	// recorded. It is asked by many goroutines.
	Traceparent func(context.Context) string
}

// Client is a control plane as one account sees it. Nothing is sent before the first call. It may
// be used by many goroutines at once.
type Client struct {
	Services
	// Names turns names into UUIDs and back.
	Names *Names
	// Regions are the other regions.
	Regions *Regions

	options   Options
	plaintext bool
	view      bool
	whole     *calls
}

// New returns a client; Close it when it is no longer needed.
func New(options Options) (*Client, error) {
	var seeds []string
	plaintext := false
	for _, address := range options.Address {
		plaintext = plaintext || strings.HasPrefix(address, plaintextPrefix)
		seeds = append(seeds, strings.TrimPrefix(address, plaintextPrefix))
	}
	if options.Patience == 0 {
		options.Patience = figurePatience
	}
	directory, err := newDirectory(seeds, options.Region)
	if err != nil {
		return nil, err
	}
	channels, err := newChannels(options, plaintext)
	if err != nil {
		return nil, err
	}
	seen := &positions{allowStale: options.AllowStale, highest: map[string]uint64{}}
	directory.ask = func(ctx context.Context, address string) (*v1.ListEndpointsResponse, error) {
		return askOne(ctx, channels, address)
	}
	anonymous := &calls{
		directory: directory, channels: channels, positions: seen, patience: options.Patience,
		traceparent: options.Traceparent,
	}
	who := &identity{
		login: &v1.LoginRequest{
			Account: options.Account, Secret: options.Secret, Project: options.Project,
		},
		certificate: options.Cert != "", iam: &Iam{calls: anonymous}, renewing: newGate(),
	}
	whole := &calls{
		directory: directory, channels: channels, positions: seen, patience: options.Patience,
		identity: who, traceparent: options.Traceparent,
	}
	return assemble(options, plaintext, whole), nil
}

// FromEnvironment returns a client of what MULLIGAN_ADDRESS (several with commas), MULLIGAN_CA,
// MULLIGAN_ACCOUNT, MULLIGAN_SECRET, MULLIGAN_PROJECT, MULLIGAN_CERT and MULLIGAN_KEY say.
func FromEnvironment() (*Client, error) {
	address := os.Getenv("MULLIGAN_ADDRESS")
	if address == "" {
		return nil, invalid("address", "set MULLIGAN_ADDRESS to HOST:PORT of a service")
	}
	return New(Options{
		Address: strings.FieldsFunc(address, func(one rune) bool { return one == ',' || one == ' ' }),
		CA:      os.Getenv("MULLIGAN_CA"),
		Account: os.Getenv("MULLIGAN_ACCOUNT"),
		Secret:  os.Getenv("MULLIGAN_SECRET"),
		Project: os.Getenv("MULLIGAN_PROJECT"),
		Cert:    os.Getenv("MULLIGAN_CERT"),
		Key:     os.Getenv("MULLIGAN_KEY"),
	})
}

func assemble(options Options, plaintext bool, whole *calls) *Client {
	client := &Client{
		Services: newServices(whole), options: options, plaintext: plaintext, whole: whole,
	}
	client.Names = newNames(client.Meta)
	client.Regions = &Regions{home: client, clients: map[string]*Client{}}
	whole.missing = func(request proto.Message) { client.Names.Forget(textsOf(request)...) }
	return client
}

// Region returns the region the client talks to; empty until it has asked.
func (client *Client) Region() string { return client.whole.directory.name() }

// Positions returns the highest log position seen, by region.
func (client *Client) Positions() map[string]uint64 { return client.whole.positions.all() }

// Shown returns the entry as of which the latest call was answered; nil for the present.
func (client *Client) Shown() *Shown {
	client.whole.guard.Lock()
	defer client.whole.guard.Unlock()
	return client.whole.shown
}

// Endpoints returns every endpoint that the Catalog lists now.
func (client *Client) Endpoints(ctx context.Context) ([]*v1.Endpoint, error) {
	endpoints, _, err := client.whole.directory.all(ctx)
	return endpoints, err
}

// LogIn logs in now, with the secret or certificate.
func (client *Client) LogIn(ctx context.Context) error { return client.whole.identity.logIn(ctx) }

// LogOut ends the session, or all of the account's, and forgets the tokens whatever comes of it.
func (client *Client) LogOut(ctx context.Context, everywhere bool) error {
	defer client.whole.identity.set(nil)
	if client.whole.identity.tokens() == nil {
		return nil
	}
	_, err := client.Iam.Logout(ctx, &v1.LogoutRequest{Everywhere: everywhere})
	if errors.Is(err, Unauthenticated) {
		return nil // the session is over already
	}
	return err
}

// At returns a view of the same control plane as of an earlier entry (its number) or time (RFC
// 3339). It shares connections and identity, and ends with this client; what does not only read is
// refused.
func (client *Client) At(moment string) *Client {
	now := client.whole
	view := assemble(client.options, client.plaintext, &calls{
		directory: now.directory, channels: now.channels, positions: now.positions,
		identity: now.identity, patience: now.patience, at: moment, traceparent: now.traceparent,
	})
	view.view = true
	return view
}

// Close closes the connections; a view's does nothing.
func (client *Client) Close() {
	if client.view {
		return
	}
	client.Regions.close()
	client.whole.channels.close()
}

func (client *Client) canLogIn() bool {
	return client.whole.identity.canLogIn() || client.whole.identity.tokens() != nil
}

// askOne asks one address, once, for the endpoints.
func askOne(
	ctx context.Context, channels *channels, address string,
) (*v1.ListEndpointsResponse, error) {
	only, err := newDirectory([]string{address}, "")
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, figureAskTimeout)
	defer cancel()
	door := Catalog{calls: &calls{
		directory: only, channels: channels, positions: &positions{}, patience: figureAskTimeout, once: true,
	}}
	answer, err := door.ListEndpoints(limited, &v1.ListEndpointsRequest{})
	if errors.Is(err, DeadlineExceeded) && ctx.Err() == nil {
		err = silent(address).err
	}
	return answer, err
}

// withHeaders returns a context with the life of one and the headers of the other.
func withHeaders(life, headers context.Context) context.Context {
	sent, _ := metadata.FromOutgoingContext(headers)
	return metadata.NewOutgoingContext(life, sent)
}
