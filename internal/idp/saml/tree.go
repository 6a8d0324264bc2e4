package saml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/beevik/etree"
)

// How much XML is read. What a provider sends in earnest stays far below.
const (
	maxDocument = 256 << 10
	maxDepth    = 32
	maxElements = 10_000
	maxPrefixes = 32 // namespace prefixes are copied for each element that is canonicalised
)

// The namespaces.
const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsSignature = "http://www.w3.org/2000/09/xmldsig#"
	nsEncrypted = "http://www.w3.org/2001/04/xmlenc#"
	nsEnc11     = "http://www.w3.org/2009/xmlenc11#"
	nsExclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// xmlName leaves out what Go's parser takes for a name and others do not: more than one colon, or one at an end.
var xmlName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.-]*)?$`)

// parse reads a document and returns its root. Nothing is let in on which two parsers could disagree: no document type, so no entities, no
// comments and no processing instructions (rule F2), one root, plain names, no attribute twice, no ID twice. Whatever is signed or decrypted goes through here again.
func parse(text []byte) (*etree.Element, error) {
	if len(text) > maxDocument {
		return nil, fmt.Errorf("larger than %d KiB", maxDocument>>10)
	}
	if err := scan(text); err != nil {
		return nil, err
	}
	d := etree.NewDocument()
	if err := d.ReadFromBytes(text); err != nil {
		return nil, errors.New("no well-formed XML")
	}
	root := d.Root()
	if root == nil {
		return nil, errors.New("no XML element")
	}
	return root, nil
}

// scan looks at each token before a tree is built.
func scan(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text)) // without a CharsetReader: UTF-8 alone
	s := scanner{prefixes: map[string]bool{}, ids: map[string]bool{}}
	for {
		start := d.InputOffset()
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return s.end()
		}
		if err != nil {
			return errors.New("no well-formed XML in UTF-8")
		}
		if err := s.take(token, start == 0); err != nil {
			return err
		}
	}
}

type scanner struct {
	depth, elements, roots int
	prefixes, ids          map[string]bool
}

func (s *scanner) take(token xml.Token, first bool) error {
	switch t := token.(type) {
	case xml.StartElement:
		return s.begin(t)
	case xml.EndElement:
		s.depth--
	case xml.CharData:
		if s.depth == 0 && len(bytes.TrimSpace(t)) > 0 {
			return errors.New("text outside the XML element")
		}
	case xml.ProcInst:
		if !first || t.Target != "xml" {
			return errors.New("a processing instruction")
		}
	case xml.Comment:
		return errors.New("an XML comment")
	default:
		return errors.New("a document type")
	}
	return nil
}

func (s *scanner) begin(e xml.StartElement) error {
	s.elements++
	s.depth++
	if s.depth == 1 {
		s.roots++
	}
	if s.roots > 1 || s.depth > maxDepth || s.elements > maxElements {
		return errors.New("too many XML elements, too deep, or more than one root")
	}
	if !xmlName.MatchString(qualified(e.Name)) {
		return errors.New("an XML name that is not plain")
	}
	return s.attributes(e.Attr)
}

func (s *scanner) attributes(attributes []xml.Attr) error {
	seen := map[xml.Name]bool{}
	for _, a := range attributes {
		if seen[a.Name] || !xmlName.MatchString(qualified(a.Name)) {
			return errors.New("an attribute that is there twice, or whose name is not plain")
		}
		seen[a.Name] = true
		if a.Name.Space == "xmlns" {
			s.prefixes[a.Name.Local] = true
		}
		if a.Name.Space == "" && strings.EqualFold(a.Name.Local, "ID") {
			if s.ids[a.Value] {
				return errors.New("an ID that is there twice")
			}
			s.ids[a.Value] = true
		}
	}
	if len(s.prefixes) > maxPrefixes {
		return errors.New("too many namespaces")
	}
	return nil
}

func (s *scanner) end() error {
	if s.roots != 1 || s.depth != 0 {
		return errors.New("not one whole XML element")
	}
	return nil
}

// qualified writes a raw name as it stood in the text.
func qualified(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// is reports whether e has that name.
func is(e *etree.Element, space, tag string) bool {
	return e != nil && e.Tag == tag && e.NamespaceURI() == space
}

// children returns the direct children of that name.
func children(e *etree.Element, space, tag string) []*etree.Element {
	var found []*etree.Element
	for _, child := range e.ChildElements() {
		if is(child, space, tag) {
			found = append(found, child)
		}
	}
	return found
}

// only returns the one direct child of that name.
func only(e *etree.Element, space, tag string) (*etree.Element, error) {
	found := children(e, space, tag)
	if len(found) != 1 {
		return nil, fmt.Errorf("%d elements %s instead of one", len(found), tag)
	}
	return found[0], nil
}

// count says how many elements of that name are in the tree, e among them, whatever namespace they claim.
func count(e *etree.Element, tag string) int {
	n := 0
	if e.Tag == tag {
		n++
	}
	for _, child := range e.ChildElements() {
		n += count(child, tag)
	}
	return n
}

// textOf returns the whole text of an element that holds nothing else: a text that a stranger's markup cuts in two is never taken for its first half.
func textOf(e *etree.Element) (string, error) {
	var text strings.Builder
	for _, token := range e.Child {
		data, ok := token.(*etree.CharData)
		if !ok {
			return "", fmt.Errorf("markup inside %s", e.Tag)
		}
		text.WriteString(data.Data)
	}
	return strings.TrimSpace(text.String()), nil
}

// attribute returns an attribute without prefix, "" where it is absent.
func attribute(e *etree.Element, name string) string {
	for _, a := range e.Attr {
		if a.Space == "" && a.Key == name {
			return a.Value
		}
	}
	return ""
}

// has reports whether e has an attribute without prefix, empty or not.
func has(e *etree.Element, name string) bool {
	for _, a := range e.Attr {
		if a.Space == "" && a.Key == name {
			return true
		}
	}
	return false
}

// bytesOf reads base64 text, with whatever white space providers break it.
func bytesOf(e *etree.Element) ([]byte, error) {
	text, err := textOf(e)
	if err != nil {
		return nil, err
	}
	return unbase64(text)
}
