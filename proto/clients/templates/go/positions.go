package mulligan

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	v1 "@MESSAGES@"
)

// positions holds the highest log position that a client has seen, by region: it goes with every
// later call, so that the client reads what it wrote.
type positions struct {
	allowStale bool

	guard   sync.Mutex
	highest map[string]uint64
}

func (seen *positions) in(region string) uint64 {
	seen.guard.Lock()
	defer seen.guard.Unlock()
	return seen.highest[region]
}

// all returns a copy: the highest sequence number by region.
func (seen *positions) all() map[string]uint64 {
	seen.guard.Lock()
	defer seen.guard.Unlock()
	copied := make(map[string]uint64, len(seen.highest))
	for region, seq := range seen.highest {
		copied[region] = seq
	}
	return copied
}

// note remembers the position of an answer that carries one.
func (seen *positions) note(answer proto.Message) {
	holder, ok := answer.(interface{ GetPosition() *v1.Position })
	if !ok || holder.GetPosition() == nil {
		return
	}
	position := holder.GetPosition()
	seen.guard.Lock()
	defer seen.guard.Unlock()
	if position.GetSeq() > seen.highest[position.GetRegion()] {
		seen.highest[position.GetRegion()] = position.GetSeq()
	}
}

// header returns what makes any instance catch up with what was seen in a region, or nothing.
func (seen *positions) header(region string) string {
	seq := seen.in(region)
	if seq == 0 || seen.allowStale {
		return ""
	}
	return fmt.Sprintf("%s:%d", region, seq)
}

// into sets what was seen in a region as the least freshness of a request; a higher one stays.
func (seen *positions) into(request proto.Message, region string) {
	given := request.(interface{ GetFreshness() *v1.Freshness }).GetFreshness()
	least := given.GetAtLeast()
	if least != nil && least.GetRegion() != "" && least.GetRegion() != region {
		return
	}
	if seq := seen.in(region); seq > 0 && (least == nil || least.GetSeq() < seq) {
		least = &v1.Position{Region: region, Seq: seq}
	}
	stale := seen.allowStale || given.GetAllowStale()
	if least == nil && !stale {
		return
	}
	wanted := &v1.Freshness{AtLeast: least, AllowStale: stale}
	set(request, "freshness", protoreflect.ValueOfMessage(wanted.ProtoReflect()))
}

// set gives a field of a message, by its name in the .proto file, a value.
func set(message proto.Message, field protoreflect.Name, value protoreflect.Value) {
	reflected := message.ProtoReflect()
	reflected.Set(reflected.Descriptor().Fields().ByName(field), value)
}

// copyOf returns a message that can be changed without the caller's seeing it; nil becomes empty.
func copyOf[M proto.Message](message M) M {
	if !message.ProtoReflect().IsValid() {
		return message.ProtoReflect().New().Interface().(M)
	}
	return proto.Clone(message).(M)
}
