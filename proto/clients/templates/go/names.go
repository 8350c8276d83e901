package mulligan

import (
	"container/list"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	v1 "@MESSAGES@"
)

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	gaps     = regexp.MustCompile(`[ _]+`)
)

// nameKey is a UUID, or a slug of a kind in a project.
type nameKey struct{ kind, project, text string }

type nameEntry struct {
	key   nameKey
	name  *v1.Name
	until time.Time
}

// Names looks names up through the Meta service, and keeps the answers for up to a minute.
type Names struct {
	meta *Meta

	guard   sync.Mutex
	entries map[nameKey]*list.Element
	order   *list.List
}

func newNames(meta *Meta) *Names {
	return &Names{meta: meta, entries: map[nameKey]*list.Element{}, order: list.New()}
}

// Resolve returns the UUID of a name or slug, and an error of the kind NotFound when nothing has it.
// The project is the scope for kinds that are named by project, the caller's if it is empty. A UUID
// is returned as it is, whether or not something has it.
func (names *Names) Resolve(ctx context.Context, kind, name, project string) (string, error) {
	if uuidForm.MatchString(name) {
		return name, nil
	}
	slug := slugOf(name)
	key := nameKey{kind, project, slug}
	found, held := names.held(key)
	if !held {
		request := &v1.ResolveRequest{Kind: kind, Names: []string{slug}, Project: project}
		answer, err := names.meta.Resolve(ctx, request)
		if err != nil {
			return "", err
		}
		for _, one := range answer.GetNames() {
			if one.GetSlug() == slug { // of two scopes the nearer one comes first
				found = one
				break
			}
		}
		names.keep(key, found)
		if found != nil {
			names.keep(nameKey{text: found.GetUuid()}, found)
		}
	}
	if found == nil {
		return "", &Error{Kind: NotFound, Message: fmt.Sprintf("%s '%s' was not found", kind, name),
			ResourceKind: kind, ResourceKey: name}
	}
	return found.GetUuid(), nil
}

// Describe returns what objects are called, by UUID; those without a name are left out.
func (names *Names) Describe(ctx context.Context, uuids ...string) (map[string]*v1.Name, error) {
	found := map[string]*v1.Name{}
	var wanted []string
	for _, uuid := range uuids {
		if name, held := names.held(nameKey{text: uuid}); !held {
			wanted = append(wanted, uuid)
		} else if name != nil {
			found[uuid] = name
		}
	}
	for len(wanted) > 0 {
		batch := wanted
		if len(batch) > figureBatch {
			batch = batch[:figureBatch]
		}
		wanted = wanted[len(batch):]
		answer, err := names.meta.Describe(ctx, &v1.DescribeRequest{Uuids: batch})
		if err != nil {
			return nil, err
		}
		for _, one := range answer.GetNames() {
			found[one.GetUuid()] = one
		}
		for _, uuid := range batch {
			names.keep(nameKey{text: uuid}, found[uuid])
		}
	}
	return found, nil
}

// Forget drops what is known of UUIDs, or of names in any scope.
func (names *Names) Forget(texts ...string) {
	gone := map[string]bool{}
	for _, text := range texts {
		gone[slugOf(text)] = true
	}
	names.guard.Lock()
	defer names.guard.Unlock()
	for key, element := range names.entries {
		entry := element.Value.(*nameEntry)
		if gone[key.text] || entry.name != nil && gone[entry.name.GetUuid()] {
			names.order.Remove(element)
			delete(names.entries, key)
		}
	}
}

func (names *Names) held(key nameKey) (*v1.Name, bool) {
	names.guard.Lock()
	defer names.guard.Unlock()
	element := names.entries[key]
	if element == nil || !time.Now().Before(element.Value.(*nameEntry).until) {
		return nil, false
	}
	names.order.MoveToBack(element)
	return element.Value.(*nameEntry).name, true
}

func (names *Names) keep(key nameKey, name *v1.Name) {
	names.guard.Lock()
	defer names.guard.Unlock()
	life := time.Duration(figureLife)
	if name == nil {
		life = figureAbsentLife
	}
	if element := names.entries[key]; element != nil {
		names.order.Remove(element)
	}
	entry := &nameEntry{key: key, name: name, until: time.Now().Add(life)}
	names.entries[key] = names.order.PushBack(entry)
	for names.order.Len() > figureKept {
		oldest := names.order.Front()
		names.order.Remove(oldest)
		delete(names.entries, oldest.Value.(*nameEntry).key)
	}
}

// slugOf returns the URI-clean form of a name, by which it is looked up.
func slugOf(name string) string {
	return strings.ToLower(gaps.ReplaceAllString(name, "-"))
}

// textsOf returns every text in a message, however deep.
func textsOf(message proto.Message) []string {
	var found []string
	var walk func(protoreflect.Message)
	visit := func(field protoreflect.FieldDescriptor, value protoreflect.Value) {
		switch field.Kind() {
		case protoreflect.StringKind:
			found = append(found, value.String())
		case protoreflect.MessageKind:
			walk(value.Message())
		}
	}
	walk = func(one protoreflect.Message) {
		one.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			switch {
			case field.IsMap():
				value.Map().Range(func(key protoreflect.MapKey, held protoreflect.Value) bool {
					visit(field.MapKey(), key.Value())
					visit(field.MapValue(), held)
					return true
				})
			case field.IsList():
				for number := 0; number < value.List().Len(); number++ {
					visit(field, value.List().Get(number))
				}
			default:
				visit(field, value)
			}
			return true
		})
	}
	walk(message.ProtoReflect())
	return found
}
