package mulligan

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	v1 "@MESSAGES@"
)

// Regions are those that a client's own knows of, each with a client of its own, opened on demand.
type Regions struct {
	home *Client

	guard   sync.Mutex
	clients map[string]*Client
}

// Outcome is what came of one region.
type Outcome struct {
	Region string
	Err    error
}

// List returns every region that the own one knows: internal ones as well for who is logged in.
func (regions *Regions) List(ctx context.Context) ([]*v1.Region, error) {
	_, told, err := regions.home.whole.directory.all(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]*v1.Region{}
	for _, one := range told {
		byName[one.GetName()] = one
	}
	if regions.home.canLogIn() {
		answer, err := regions.home.Meta.ListRegions(ctx, &v1.ListRegionsRequest{})
		if err != nil && !errors.Is(err, FailedPrecondition) { // older services list none
			return nil, err
		}
		for _, one := range answer.GetRegions() {
			byName[one.GetName()] = one
		}
	}
	found := make([]*v1.Region, 0, len(byName))
	for _, one := range byName {
		found = append(found, one)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].GetName() < found[j].GetName() })
	return found, nil
}

// Client returns the client of a region, which ends with the own one's.
func (regions *Regions) Client(ctx context.Context, name string) (*Client, error) {
	regions.guard.Lock()
	known := regions.clients[name]
	regions.guard.Unlock()
	if known != nil {
		return known, nil
	}
	all, err := regions.List(ctx)
	if err != nil {
		return nil, err
	}
	if name == regions.home.Region() {
		return regions.home, nil
	}
	names := make([]string, len(all))
	for number, one := range all {
		names[number] = one.GetName()
		if one.GetName() != name {
			continue
		}
		if one.GetHome() {
			return regions.home, nil
		}
		return regions.open(one)
	}
	return nil, &Error{Kind: NotFound, Message: fmt.Sprintf(
		"region '%s' was not found; known: %s", name, strings.Join(names, ", "))}
}

// Each makes the same call in each of the regions at once and returns what came of it, in their
// order. One that is slow or away keeps none of the others waiting.
func (regions *Regions) Each(
	ctx context.Context, names []string, deadline time.Duration,
	call func(ctx context.Context, client *Client, region string) error,
) []Outcome {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	outcomes := make([]Outcome, len(names))
	var all sync.WaitGroup
	for number, name := range names {
		all.Add(1)
		go func(number int, name string) {
			defer all.Done()
			client, err := regions.Client(ctx, name)
			if err == nil {
				err = call(ctx, client, name)
			}
			outcomes[number] = Outcome{Region: name, Err: err}
		}(number, name)
	}
	all.Wait()
	return outcomes
}

func (regions *Regions) open(region *v1.Region) (*Client, error) {
	regions.guard.Lock()
	defer regions.guard.Unlock()
	if known := regions.clients[region.GetName()]; known != nil {
		return known, nil
	}
	options := regions.home.options
	options.Region = region.GetName()
	options.Address = nil
	for _, address := range region.GetAddresses() {
		if regions.home.plaintext {
			address = plaintextPrefix + address
		}
		options.Address = append(options.Address, address)
	}
	if region.GetCa() != "" {
		options.CA, options.CAPEM = "", []byte(region.GetCa())
	}
	client, err := New(options)
	if err != nil {
		return nil, err
	}
	regions.clients[region.GetName()] = client
	return client, nil
}

func (regions *Regions) close() {
	regions.guard.Lock()
	defer regions.guard.Unlock()
	for name, client := range regions.clients {
		client.Close()
		delete(regions.clients, name)
	}
}
