package device

import (
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// ParseConnect reads a connectivity as people and wires write it: a protocol, a colon and a port, as in SSH:22. The port of a protocol that sessions can
// be asked for may be left out.
func ParseConnect(text string) (Connectivity, error) {
	name, port, given := strings.Cut(strings.TrimSpace(text), ":")
	c := Connectivity{Name: strings.TrimSpace(name)}
	c.Port = c.Protocol().DefaultPort()
	if given {
		n, err := strconv.Atoi(strings.TrimSpace(port))
		if err != nil {
			return c, fault.Fields("a port is a number from 1 to 65535", fault.Field{Path: "connect", Message: "a protocol and a port, such as SSH:22"})
		}
		c.Port = n
	}
	if c.Port == 0 && !given {
		return c, fault.Fields("what is no protocol of sessions has no port of its own; write it behind a colon", fault.Field{Path: "connect", Message: "a protocol and a port, such as SSH:22"})
	}
	return c, c.check()
}

// ParseConnects reads some of them.
func ParseConnects(texts []string) ([]Connectivity, error) {
	all := make([]Connectivity, 0, len(texts))
	for _, text := range texts {
		c, err := ParseConnect(text)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// String is the connectivity as ParseConnect reads it.
func (c Connectivity) String() string { return c.Name + ":" + strconv.Itoa(c.Port) }
