// The driver does what it is told, a step a line, and writes what came of it: see drivers.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	mulligan "mulligan.example/client"
)

type step struct {
	Op       string          `json:"op"`
	Method   string          `json:"method"`
	Request  json.RawMessage `json:"request"`
	Count    int             `json:"count"`
	Limit    int             `json:"limit"`
	Steps    []step          `json:"steps"`
	Region   *string         `json:"region"`
	At       *string         `json:"at"`
	Kind     string          `json:"kind"`
	Name     string          `json:"name"`
	Address  []string        `json:"address"`
	CA       string          `json:"ca"`
	Account  string          `json:"account"`
	Secret   string          `json:"secret"`
	Project  string          `json:"project"`
	Patience float64         `json:"patience"`
	Trace    string          `json:"traceparent"`
}

var client *mulligan.Client

func shown(message proto.Message) (json.RawMessage, error) { return protojson.Marshal(message) }

// bound returns a method of a service, its context and its request.
func bound(on *mulligan.Client, one step, verb func(string) string) (reflect.Value, []reflect.Value, error) {
	service, name, _ := strings.Cut(one.Method, ".")
	method := reflect.ValueOf(on).Elem().FieldByName(service).MethodByName(verb(name))
	request := reflect.New(method.Type().In(1).Elem())
	if len(one.Request) > 0 {
		if err := protojson.Unmarshal(one.Request, request.Interface().(proto.Message)); err != nil {
			return method, nil, err
		}
	}
	ctx := context.Background()
	if one.Trace != "" {
		ctx = mulligan.WithTraceparent(ctx, one.Trace)
	}
	return method, []reflect.Value{reflect.ValueOf(ctx), request}, nil
}

func plain(name string) string { return name }

func all(name string) string {
	for _, verb := range []string{"List", "Find"} {
		if rest := strings.TrimPrefix(name, verb); rest != name {
			return verb + "All" + rest
		}
	}
	return name + "All"
}

func errorIn(value reflect.Value) error {
	err, _ := value.Interface().(error)
	return err
}

func done(one step) (interface{}, error) {
	ctx := context.Background()
	if one.Op == "open" {
		if client != nil {
			client.Close()
		}
		opened, err := mulligan.New(mulligan.Options{
			Address: one.Address, CA: one.CA, Account: one.Account, Secret: one.Secret,
			Project: one.Project, Patience: time.Duration(one.Patience * float64(time.Second)),
			Traceparent: func(context.Context) string { return one.Trace },
		})
		client = opened
		return map[string]string{}, err
	}
	if one.Op == "together" {
		return together(one.Steps), nil
	}
	on := client
	if one.Region != nil {
		found, err := client.Regions.Client(ctx, *one.Region)
		if err != nil {
			return nil, err
		}
		on = found
	}
	if one.At != nil {
		on = on.At(*one.At)
	}
	switch one.Op {
	case "call":
		method, given, err := bound(on, one, plain)
		if err != nil {
			return nil, err
		}
		results := method.Call(given)
		if err := errorIn(results[1]); err != nil {
			return nil, err
		}
		return shown(results[0].Interface().(proto.Message))
	case "take":
		return take(on, one)
	case "every":
		return every(on, one)
	case "resolve":
		return on.Names.Resolve(ctx, one.Kind, one.Name, "")
	case "positions":
		texts := map[string]string{}
		for region, seq := range on.Positions() {
			texts[region] = strconv.FormatUint(seq, 10)
		}
		return texts, nil
	case "log_out":
		return map[string]string{}, on.LogOut(ctx, false)
	case "close":
		on.Close()
		return map[string]string{}, nil
	}
	return nil, fmt.Errorf("no client can %s", one.Op)
}

func take(on *mulligan.Client, one step) (interface{}, error) {
	method, given, err := bound(on, one, plain)
	if err != nil {
		return nil, err
	}
	stream := method.Call(given)[0]
	defer stream.MethodByName("Close").Call(nil)
	taken := []json.RawMessage{}
	for len(taken) < one.Count {
		results := stream.MethodByName("Recv").Call(nil)
		if err := errorIn(results[1]); err != nil {
			return nil, err
		}
		text, err := shown(results[0].Interface().(proto.Message))
		if err != nil {
			return nil, err
		}
		taken = append(taken, text)
	}
	return taken, nil
}

func every(on *mulligan.Client, one step) (interface{}, error) {
	method, given, err := bound(on, one, all)
	if err != nil {
		return nil, err
	}
	items := method.Call(append(given, reflect.ValueOf(one.Limit)))[0]
	found := []json.RawMessage{}
	for items.MethodByName("Next").Call(nil)[0].Bool() {
		text, err := shown(items.MethodByName("Item").Call(nil)[0].Interface().(proto.Message))
		if err != nil {
			return nil, err
		}
		found = append(found, text)
	}
	return found, errorIn(items.MethodByName("Err").Call(nil)[0])
}

func together(steps []step) []map[string]interface{} {
	outcomes := make([]map[string]interface{}, len(steps))
	var waiting sync.WaitGroup
	for number := range steps {
		waiting.Add(1)
		go func(number int) {
			defer waiting.Done()
			outcomes[number] = outcome(steps[number])
		}(number)
	}
	waiting.Wait()
	return outcomes
}

func outcome(one step) map[string]interface{} {
	answer, err := done(one)
	if err == nil {
		return map[string]interface{}{"answer": answer}
	}
	var told *mulligan.Error
	if !errors.As(err, &told) {
		return map[string]interface{}{"error": "BUG", "message": err.Error()}
	}
	result := map[string]interface{}{"error": string(told.Kind), "message": told.Message}
	if told.Kind == mulligan.Untrusted {
		result["error"] = "Unavailable" // as its parent is called
	}
	if len(told.Violations) > 0 {
		violations := map[string]string{}
		for _, violation := range told.Violations {
			violations[violation.Field] = violation.Description
		}
		result["violations"] = violations
	}
	if told.ResourceKey != "" {
		result["resource"] = []string{told.ResourceKind, told.ResourceKey}
	}
	if len(told.Facts) > 0 {
		result["facts"] = told.Facts
	}
	return result
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	written := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var one step
		if err := json.Unmarshal(line, &one); err != nil {
			panic(err)
		}
		if err := written.Encode(outcome(one)); err != nil {
			panic(err)
		}
	}
}
