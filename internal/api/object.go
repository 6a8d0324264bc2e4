package api

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Optional is a member of a document with its three states: absent, null, value.
type Optional[T any] struct {
	Set   bool // the member is there, be it null
	Null  bool // the member is there and null
	Value T    // zero unless the member is there, not null, and right
}

// Or returns the value, or otherwise where the member is absent or null.
func (o Optional[T]) Or(otherwise T) T {
	if o.Set && !o.Null {
		return o.Value
	}
	return otherwise
}

// Pointer returns the value's address, or nil where the member is absent or null.
func (o Optional[T]) Pointer() *T {
	if o.Set && !o.Null {
		return &o.Value
	}
	return nil
}

// Object is one JSON object under strict reading. Ask for each member once; the order of asking is the
// order of the faults. A member named "$schema" is accepted and ignored in every object.
type Object struct {
	Set  bool // the object is there, be it null
	Null bool // the object is there and null

	path    string
	secret  bool
	names   []string // in order of appearance
	members map[string][]byte
	slots   []slot
	index   map[string]int // name -> slot
	broken  bool           // not an object: reading it finds no more faults
}

// slot collects what was found under one member, in the order in which members were asked for.
type slot struct {
	own  []fault.Field
	deep interface {
		faults(so []fault.Field) []fault.Field
	}
}

func newObject(path string, raw []byte, secret bool) *Object {
	o := &Object{Set: true, path: path, secret: secret, members: map[string][]byte{}, index: map[string]int{}}
	c := cursor{text: raw}
	c.space()
	if c.text[c.pos] != '{' {
		o.broken = true
		o.slots = append(o.slots, slot{own: []fault.Field{{Path: path, Message: "expected object"}}})
		return o
	}
	_ = c.members(func(name string) error {
		o.names = append(o.names, name)
		o.members[name] = c.value()
		return nil
	})
	return o
}

// noObject stands for an object that is absent, null or wrong.
func noObject(path string, set, null bool) *Object {
	return &Object{Set: set, Null: null, path: path, index: map[string]int{}, broken: true}
}

// String reads a text. U+0000 is always refused: no database column holds it.
func (o *Object) String(name string, rules ...Rule) Optional[string] {
	return read(o, name, rules, readString)
}

// Bool reads true or false.
func (o *Object) Bool(name string, rules ...Rule) Optional[bool] {
	return read(o, name, rules, readBool)
}

// Int64 reads an integer: digits without fraction or exponent (1.0 and 1e2 are refused).
func (o *Object) Int64(name string, rules ...Rule) Optional[int64] {
	return read(o, name, rules, readInt64)
}

// Int32 reads an integer that fits 32 bits, in the form of Int64.
func (o *Object) Int32(name string, rules ...Rule) Optional[int32] {
	v := read(o, name, append([]Rule{within32}, rules...), readInt64)
	return Optional[int32]{Set: v.Set, Null: v.Null, Value: int32(v.Value)} //nolint:gosec // within32 holds
}

// Number reads any JSON number that fits a float64.
func (o *Object) Number(name string, rules ...Rule) Optional[float64] {
	return read(o, name, rules, readNumber)
}

// Time reads an RFC 3339 date-time with any offset and returns it in UTC.
func (o *Object) Time(name string, rules ...Rule) Optional[time.Time] {
	return read(o, name, rules, readTime)
}

// Object reads a nested object. It is never nil: where the member is absent, null or wrong, its own
// members all read as absent and find no faults.
func (o *Object) Object(name string, rules ...Rule) *Object {
	rule, raw, null, ok := o.take(name, rules)
	if !ok {
		return noObject(o.at(name), raw != nil, null)
	}
	in := newObject(o.at(name), raw, rule.secret)
	o.slot(name).deep = in
	return in
}

// Array reads a nested array. It is never nil: where the member is absent, null, wrong, or breaks
// Count, its length is 0.
func (o *Object) Array(name string, rules ...Rule) *Array {
	rule, raw, null, ok := o.take(name, rules)
	if !ok {
		return &Array{Set: raw != nil, Null: null, path: o.at(name)}
	}
	in := newArray(o.at(name), raw, rule)
	o.slot(name).deep = in
	return in
}

// Names returns the names of all members in order of appearance and makes them known, for objects that
// are open maps.
func (o *Object) Names() []string {
	var names []string
	for _, name := range o.names {
		if name == "$schema" {
			continue
		}
		o.slot(name)
		names = append(names, name)
	}
	return names
}

// Fault adds a fault that the decoder cannot see, at the place of the named member in the order.
// Give nil as value where it is secret, large or a whole object. A member that is already at fault
// keeps its first faults alone, so that handlers need not ask.
func (o *Object) Fault(name, message string, value any) {
	s := o.slot(name)
	if len(s.own) > 0 || o.broken {
		return
	}
	s.own = append(s.own, fault.Field{Path: o.at(name), Message: message, Value: value})
}

// faults appends those of this object and what lies in it: asked members first, unknown ones after.
func (o *Object) faults(so []fault.Field) []fault.Field {
	for _, s := range o.slots {
		so = append(so, s.own...)
		if s.deep != nil {
			so = s.deep.faults(so)
		}
	}
	for _, name := range o.names {
		if len(so) > maxFaults {
			return so
		}
		_, known := o.index[name]
		switch {
		case known:
		case name != "$schema":
			so = append(so, fault.Field{Path: o.at(shorten(name)), Message: "unexpected property"})
		case o.members[name][0] != '"':
			so = append(so, fault.Field{Path: o.at(name), Message: "expected string"})
		}
	}
	return so
}

// take finds a member and settles presence and null. ok says that there is a value to read.
func (o *Object) take(name string, rules []Rule) (rule limits, raw []byte, null, ok bool) {
	rule = gather(rules, o.secret)
	o.slot(name)
	raw = o.members[name]
	switch {
	case o.broken:
		return rule, nil, false, false
	case raw == nil:
		if rule.required {
			o.add(name, fault.Field{Path: o.path, Message: "expected required property " + name + " to be present"})
		}
		return rule, nil, false, false
	case string(raw) == "null" && rule.nullable:
		return rule, raw, true, false
	default:
		return rule, raw, false, true
	}
}

// slot returns the place of a member in the order, making it at first sight.
func (o *Object) slot(name string) *slot {
	at, ok := o.index[name]
	if !ok {
		at = len(o.slots)
		o.index[name] = at
		o.slots = append(o.slots, slot{})
	}
	return &o.slots[at]
}

func (o *Object) add(name string, found ...fault.Field) {
	s := o.slot(name)
	s.own = append(s.own, found...)
}

func (o *Object) at(name string) string { return o.path + "." + name }

// reader turns a raw value into a T, or says what is wrong with it in one message per fault.
type reader[T any] func(raw []byte, rule limits) (T, []string)

func read[T any](o *Object, name string, rules []Rule, as reader[T]) Optional[T] {
	rule, raw, null, ok := o.take(name, rules)
	if !ok {
		return Optional[T]{Set: raw != nil, Null: null}
	}
	value, found := convert(o.at(name), raw, rule, as)
	o.add(name, found...)
	return Optional[T]{Set: true, Value: value}
}

func convert[T any](path string, raw []byte, rule limits, as reader[T]) (T, []fault.Field) {
	value, wrong := as(raw, rule)
	if len(wrong) == 0 {
		return value, nil
	}
	found := make([]fault.Field, len(wrong))
	for i, message := range wrong {
		found[i] = fault.Field{Path: path, Message: message, Value: echo(raw, rule)}
	}
	var zero T
	return zero, found
}

// echo is what a fault may repeat of the value: scalars that are neither secret nor long.
func echo(raw []byte, rule limits) any {
	if rule.secret || len(raw) > maxEcho {
		return nil
	}
	switch raw[0] {
	case '{', '[', 'n':
		return nil
	case '"':
		return text(raw)
	case 't', 'f':
		return raw[0] == 't'
	default:
		return json.Number(raw)
	}
}

// Array is one JSON array under strict reading.
type Array struct {
	Set  bool // the array is there, be it null
	Null bool // the array is there and null

	path     string
	secret   bool
	elements [][]byte
	slots    []slot
}

func newArray(path string, raw []byte, rule limits) *Array {
	a := &Array{Set: true, path: path, secret: rule.secret}
	fail := func(message string) *Array {
		a.elements = nil
		a.slots = []slot{{own: []fault.Field{{Path: path, Message: message}}}}
		return a
	}
	if raw[0] != '[' {
		return fail("expected array")
	}
	c := cursor{text: raw}
	_ = c.elements(func() error {
		a.elements = append(a.elements, c.value())
		return nil
	})
	switch n := len(a.elements); {
	case n < rule.minCount:
		return fail("expected array length >= " + strconv.Itoa(rule.minCount))
	case rule.maxCount > 0 && n > rule.maxCount:
		return fail("expected array length <= " + strconv.Itoa(rule.maxCount))
	}
	a.slots = make([]slot, len(a.elements))
	return a
}

// Len is the number of elements to read: 0 where the array is absent, null or at fault as a whole.
func (a *Array) Len() int { return len(a.elements) }

// Object reads element i as an object.
func (a *Array) Object(i int, rules ...Rule) *Object {
	in := newObject(a.at(i), a.elements[i], gather(rules, a.secret).secret)
	a.slots[i].deep = in
	return in
}

// String reads element i as a text.
func (a *Array) String(i int, rules ...Rule) string {
	value, found := convert(a.at(i), a.elements[i], gather(rules, a.secret), readString)
	a.slots[i].own = append(a.slots[i].own, found...)
	return value
}

// Int64 reads element i as a whole number.
func (a *Array) Int64(i int, rules ...Rule) int64 {
	value, found := convert(a.at(i), a.elements[i], gather(rules, a.secret), readInt64)
	a.slots[i].own = append(a.slots[i].own, found...)
	return value
}

// Fault adds a fault at element i, unless that element is at fault already.
func (a *Array) Fault(i int, message string, value any) {
	if len(a.slots[i].own) == 0 {
		a.slots[i].own = []fault.Field{{Path: a.at(i), Message: message, Value: value}}
	}
}

func (a *Array) at(i int) string { return a.path + "[" + strconv.Itoa(i) + "]" }

func (a *Array) faults(so []fault.Field) []fault.Field {
	for _, s := range a.slots {
		so = append(so, s.own...)
		if s.deep != nil {
			so = s.deep.faults(so)
		}
	}
	return so
}
