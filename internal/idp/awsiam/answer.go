package awsiam

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
)

const (
	namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	maxDepth  = 4
)

// element is one of the answer: it holds a text or others, never both.
type element struct {
	name string
	text string
	in   []*element
}

// The reasons hold nothing of the answer.
var (
	errNotXML   = errors.New("it cannot be read")
	errExtra    = errors.New("it holds what an answer never does")
	errShape    = errors.New("something is missing, or there twice")
	errIdentity = errors.New("the identity is none")
)

// Identities of STS and IAM, with the account in the middle.
var arnForm = regexp.MustCompile(`^arn:aws[a-z-]*:(?:sts|iam)::(\d{12}):[!-~]{1,1000}$`)

// readAnswer takes the ARN out of an answer that has exactly the form which STS gives it.
func readAnswer(body []byte) (string, error) {
	root, err := parse(body)
	if err != nil {
		return "", err
	}
	if root.name != "GetCallerIdentityResponse" {
		return "", errShape
	}
	top, err := root.only("GetCallerIdentityResult", "ResponseMetadata")
	if err != nil || top["GetCallerIdentityResult"] == nil {
		return "", errShape
	}
	if rest := top["ResponseMetadata"]; rest != nil {
		if _, err := rest.only("RequestId"); err != nil {
			return "", err
		}
	}
	result, err := top["GetCallerIdentityResult"].only("Arn", "UserId", "Account")
	if err != nil || len(result) != 3 {
		return "", errShape
	}
	return identity(result["Arn"], result["UserId"], result["Account"])
}

// identity returns the ARN if all three are texts that fit together.
func identity(arn, user, account *element) (string, error) {
	for _, e := range []*element{arn, user, account} {
		if len(e.in) > 0 || e.text == "" {
			return "", errIdentity
		}
	}
	m := arnForm.FindStringSubmatch(arn.text)
	if m == nil || m[1] != account.text {
		return "", errIdentity
	}
	return arn.text, nil
}

// only returns the children by name: none but those, and each at most once.
func (e *element) only(names ...string) (map[string]*element, error) {
	if e.text != "" {
		return nil, errShape
	}
	found := map[string]*element{}
	for _, child := range e.in {
		if found[child.name] != nil {
			return nil, errShape
		}
		found[child.name] = child
	}
	known := 0
	for _, name := range names {
		if found[name] != nil {
			known++
		}
	}
	if known != len(found) {
		return nil, errShape
	}
	return found, nil
}

// parse reads XML of which nothing is used but elements of one namespace and their texts: no declarations, instructions, comments,
// sections, attributes or references, and nothing after the end.
func parse(body []byte) (*element, error) {
	for _, mark := range []string{"<!", "<?", "&"} {
		if bytes.Contains(body, []byte(mark)) {
			return nil, errExtra
		}
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	top := &element{}
	open := []*element{top}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errNotXML
		}
		if open, err = grow(open, token); err != nil {
			return nil, err
		}
	}
	if len(open) != 1 || len(top.in) != 1 || top.text != "" {
		return nil, errShape
	}
	return top.in[0], nil
}

// grow adds a token to the innermost of the open elements.
func grow(open []*element, token xml.Token) ([]*element, error) {
	inner := open[len(open)-1]
	switch token := token.(type) {
	case xml.StartElement:
		if token.Name.Space != namespace || !plain(token.Attr) || len(open) > maxDepth || inner.text != "" {
			return nil, errExtra
		}
		e := &element{name: token.Name.Local}
		inner.in = append(inner.in, e)
		return append(open, e), nil
	case xml.EndElement:
		return open[:len(open)-1], nil
	case xml.CharData:
		text := string(token)
		if len(inner.in) > 0 || len(open) == 1 {
			if strings.Trim(text, " \t\r\n") != "" {
				return nil, errExtra
			}
			return open, nil
		}
		inner.text += strings.Trim(text, " \t\r\n")
		return open, nil
	}
	return nil, errExtra // a declaration, an instruction or a comment
}

// plain says that attributes only name the namespace.
func plain(all []xml.Attr) bool {
	for _, a := range all {
		if a.Name.Space != "" || a.Name.Local != "xmlns" || a.Value != namespace {
			return false
		}
	}
	return len(all) <= 1
}
