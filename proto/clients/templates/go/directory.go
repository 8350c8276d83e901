package mulligan

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	v1 "@MESSAGES@"
)

// gate lets one through at a time, and those who wait leave with their context.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (one gate) enter(ctx context.Context) error {
	select {
	case one <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (one gate) leave() { <-one }

// directory says which instance to call: the Catalog's list, taken in turn, those that failed last.
type directory struct {
	seeds  []string
	ask    func(ctx context.Context, address string) (*v1.ListEndpointsResponse, error)
	asking gate

	guard      sync.Mutex
	region     string
	known      []*v1.Endpoint
	neighbours []*v1.Region
	stale      bool
	askedAt    time.Time
	turn       map[string]int
	failedAt   map[string]time.Time
}

func newDirectory(seeds []string, region string) (*directory, error) {
	if len(seeds) == 0 {
		return nil, invalid("address", "at least one address is needed")
	}
	return &directory{
		seeds: seeds, region: region, stale: true, asking: newGate(),
		turn: map[string]int{}, failedAt: map[string]time.Time{},
	}, nil
}

// name returns the region; empty until it is known.
func (dir *directory) name() string {
	dir.guard.Lock()
	defer dir.guard.Unlock()
	return dir.region
}

// all asks the Catalog for every endpoint and region that it knows.
func (dir *directory) all(ctx context.Context) ([]*v1.Endpoint, []*v1.Region, error) {
	if err := dir.refresh(ctx, true); err != nil {
		return nil, nil, err
	}
	dir.guard.Lock()
	defer dir.guard.Unlock()
	return append([]*v1.Endpoint{}, dir.known...), append([]*v1.Region{}, dir.neighbours...), nil
}

// pick returns the address of the instance of a service whose turn it is.
func (dir *directory) pick(ctx context.Context, service string) (string, error) {
	dir.guard.Lock()
	stale := dir.stale
	dir.guard.Unlock()
	if stale && service != "catalog" {
		if err := dir.refresh(ctx, false); err != nil {
			return "", err
		}
	}
	dir.guard.Lock()
	defer dir.guard.Unlock()
	found := dir.serving(service)
	if len(found) == 0 {
		dir.stale = true
		where := "any region"
		if dir.region != "" {
			where = "region " + dir.region
		}
		return "", &Error{Kind: Unavailable, Message: fmt.Sprintf(
			"no %s service is registered in %s; is it running?", service, where)}
	}
	if healthy := dir.healthy(found); len(healthy) > 0 {
		found = healthy
	}
	turn := dir.turn[service]
	dir.turn[service] = turn + 1
	return found[turn%len(found)], nil
}

// failed passes the address over for a while, and has new ones looked for.
func (dir *directory) failed(address string) {
	dir.guard.Lock()
	defer dir.guard.Unlock()
	dir.failedAt[address] = time.Now()
	dir.stale = true
}

// hasHealthy tells whether an instance is known that has not just failed.
func (dir *directory) hasHealthy(service string) bool {
	dir.guard.Lock()
	defer dir.guard.Unlock()
	return len(dir.healthy(dir.serving(service))) > 0
}

func (dir *directory) serving(service string) []string {
	if service == "catalog" {
		return dir.seeds
	}
	var found []string
	for _, one := range dir.known {
		if one.GetService() == service && (one.GetRegion() == "" || one.GetRegion() == dir.region) {
			found = append(found, one.GetAddress())
		}
	}
	sort.Strings(found)
	return found
}

func (dir *directory) healthy(addresses []string) []string {
	var found []string
	for _, address := range addresses {
		if dir.isHealthy(address) {
			found = append(found, address)
		}
	}
	return found
}

func (dir *directory) isHealthy(address string) bool {
	failedAt, ever := dir.failedAt[address]
	return !ever || time.Since(failedAt) > figureCoolDown
}

func (dir *directory) refresh(ctx context.Context, force bool) error {
	if err := dir.asking.enter(ctx); err != nil {
		return err
	}
	defer dir.asking.leave()
	dir.guard.Lock()
	recent := time.Since(dir.askedAt) < figurePause
	known := len(dir.known) > 0
	if !force && (!dir.stale || recent && known) {
		dir.guard.Unlock()
		return nil
	}
	dir.askedAt = time.Now()
	addresses := dir.healthyFirst()
	dir.guard.Unlock()
	err := dir.askAll(ctx, addresses)
	if err != nil && !force && known && errors.Is(err, Unavailable) {
		return nil
	}
	return err
}

func (dir *directory) healthyFirst() []string {
	var more []string
	listed := map[string]bool{}
	for _, seed := range dir.seeds {
		listed[seed] = true
	}
	for _, one := range dir.known {
		if !listed[one.GetAddress()] {
			listed[one.GetAddress()] = true
			more = append(more, one.GetAddress())
		}
	}
	sort.Strings(more)
	all := append(append([]string{}, dir.seeds...), more...)
	sort.SliceStable(all, func(i, j int) bool { return dir.isHealthy(all[i]) && !dir.isHealthy(all[j]) })
	return all
}

func (dir *directory) askAll(ctx context.Context, addresses []string) error {
	var failure error
	for _, address := range addresses {
		answer, err := dir.ask(ctx, address)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		dir.guard.Lock()
		if err == nil {
			dir.known, dir.neighbours = answer.GetEndpoints(), answer.GetRegions()
			if dir.region == "" {
				dir.region = answer.GetRegion()
			}
			dir.stale = false
			dir.forget()
			dir.guard.Unlock()
			return nil
		}
		if errors.Is(err, Unavailable) {
			dir.failedAt[address] = time.Now()
		}
		dir.guard.Unlock()
		failure = err
	}
	if errors.Is(failure, Unavailable) {
		return failure
	}
	return &Error{Kind: Unavailable, Message: fmt.Sprintf(
		"no address answers as Mulligan does: %v", failure)}
}

// forget drops failures that are long past.
func (dir *directory) forget() {
	for address := range dir.failedAt {
		if dir.isHealthy(address) {
			delete(dir.failedAt, address)
		}
	}
}
