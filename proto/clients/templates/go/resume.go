package mulligan

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	v1 "@MESSAGES@"
)

// resumption is how a broken stream goes on: from the last record seen, without gaps or repeats.
type resumption struct {
	facts   facts
	request proto.Message
	begun   bool
	last    uint64
	commits map[string]bool
}

// possible tells whether sending the request (again) gives what is missing and no more.
func (way *resumption) possible() bool {
	return way.facts.resume != "again" || !way.begun
}

// isNew notes a message, and in the request where to go on after it; it tells whether it is no
// repeat. An entry of the log holds several records, so the last entry is read again and sifted.
func (way *resumption) isNew(message proto.Message) bool {
	way.begun = true
	record, ok := message.(interface {
		GetPosition() *v1.Position
		GetCommit() string
	})
	if !ok || way.facts.resume != "after" && way.facts.resume != "first" || record.GetPosition() == nil {
		return true
	}
	seq := record.GetPosition().GetSeq()
	if seq < way.last || seq == way.last && way.commits[record.GetCommit()] {
		return false
	}
	if seq > way.last {
		way.last = seq
		way.commits = map[string]bool{}
		way.goOnFrom(seq)
	}
	way.commits[record.GetCommit()] = true
	return true
}

func (way *resumption) goOnFrom(seq uint64) {
	if way.facts.resume == "first" {
		set(way.request, "first", protoreflect.ValueOfUint64(seq))
		return
	}
	set(way.request, "after", protoreflect.ValueOfUint64(seq-1))
	set(way.request, "from_head", protoreflect.ValueOfBool(false))
}
